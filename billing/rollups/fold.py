"""Folding: adds the events of new batches to every rollup and marks the batches as folded, in one transaction.

So each batch is folded exactly once, even if a process dies. Any number of workers may fold at the same time: they skip
claimed batches (docs/decisions/015-batches.md) and organizations that another worker folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from billing.rollups.definitions import FINEST
from billing.rollups.late_events import record_late_events
from billing.rollups.locks import try_lock_rollups
from billing.rollups.sql import OF_BATCHES, fold_statement
from billing.rollups.state import bump_ledger_version, named_changes
from billing.rollups.usage_issues import record_usage_issues
from billing.rollups.workflows import move_runs
from costtrack.database.queries import fetch_rows
from organizations.failures import log_failure

# A batch can have a single event, and each transaction has its own cost, so a backlog of single events needs many of
# them in one.
_MAX_BATCHES = 5_000
_MAX_EVENTS = 50_000

_UNFOLDED_ORGANIZATIONS = (
    "SELECT organization_id FROM billing_ingestbatch WHERE folded_at IS NULL GROUP BY 1 ORDER BY min(received_at)"
)
_CLAIM = """
SELECT id, last_event_id, accepted FROM billing_ingestbatch
WHERE organization_id = %(organization)s AND folded_at IS NULL AND id <= (
    SELECT id FROM (
        SELECT id, sum(accepted) OVER (ORDER BY id) AS events, row_number() OVER (ORDER BY id) AS number
        FROM (
            SELECT id, accepted FROM billing_ingestbatch
            WHERE organization_id = %(organization)s AND folded_at IS NULL
            ORDER BY id LIMIT %(max_batches)s
        ) AS oldest
    ) AS summed
    WHERE events <= %(max_events)s OR number = 1 ORDER BY id DESC LIMIT 1
)
ORDER BY id FOR UPDATE SKIP LOCKED
"""
_MARK = "UPDATE billing_ingestbatch SET folded_at = %s WHERE organization_id = %s AND id = ANY(%s)"
_FOLD = [((rollup, *rollup.coarser), fold_statement(rollup, OF_BATCHES)) for rollup in FINEST]


@dataclass(frozen=True, slots=True)
class Folded:
    """The number of folded batches and events, and their organizations."""

    batches: int = 0
    events: int = 0
    organizations: frozenset[int] = field(default=frozenset(), compare=False)

    def __add__(self, other: "Folded") -> "Folded":
        organizations = self.organizations | other.organizations
        return Folded(self.batches + other.batches, self.events + other.events, organizations)


def fold(*, now: datetime) -> Folded:
    """Fold the unfolded batches of all organizations, except those that another worker folds."""
    done = Folded()
    for organization_id in organizations_with_unfolded():
        with log_failure(organization_id, "batches could not be folded"):
            done += fold_organization(organization_id=organization_id, now=now)
    return done


def organizations_with_unfolded() -> list[int]:
    """Return the organizations with unfolded batches, oldest batch first."""
    return [organization_id for (organization_id,) in fetch_rows(_UNFOLDED_ORGANIZATIONS)]


def fold_organization(*, organization_id: int, now: datetime) -> Folded:
    """Fold the unfolded batches of one organization, in transactions of bounded size."""
    done = Folded()
    while (folded_now := _fold_some(organization_id, now)).batches:
        done += folded_now
    return done


def _fold_some(organization_id: int, now: datetime) -> Folded:
    with transaction.atomic(), connection.cursor() as cursor:
        if not try_lock_rollups(cursor, organization_id):
            return Folded()
        batches = _claim(cursor, organization_id)
        if not batches:
            return Folded()
        ids = [batch_id for batch_id, _, _ in batches]
        last_events = [last_event_id for _, last_event_id, _ in batches]
        parameters: dict[str, Any] = {
            "organization": organization_id,
            "batches": ids,
            "last_events": last_events,
            "first": min(ids),
            "last": max(last_events),
        }
        changes: dict[str, int] = {}
        for rollups, statement in _FOLD:
            cursor.execute(statement, parameters)
            changes |= named_changes(rollups, cursor.fetchone())
        move_runs(cursor, organization_id)
        record_usage_issues(cursor, parameters)
        record_late_events(cursor, parameters)
        cursor.execute(_MARK, [now, organization_id, ids])
        bump_ledger_version(cursor, organization_id, changes)
    return Folded(len(batches), sum(accepted for _, _, accepted in batches), frozenset({organization_id}))


def _claim(cursor: Any, organization_id: int) -> Sequence[tuple[UUID, UUID, int]]:
    """Claim the oldest batches, up to about `_MAX_EVENTS` events, except those that are claimed already."""
    parameters = {"organization": organization_id, "max_batches": _MAX_BATCHES, "max_events": _MAX_EVENTS}
    cursor.execute(_CLAIM, parameters)
    claimed: Sequence[tuple[UUID, UUID, int]] = cursor.fetchall()
    return claimed
