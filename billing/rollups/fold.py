"""Folding: what new batches add up to is added to every rollup, and the batches are marked, in one transaction.

So each batch is folded exactly once, whatever dies at whatever moment, and any number of workers may fold at the same
time: what one has claimed is skipped by the others (docs/decisions/015-batches.md), and so is an organization that one
works on.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from billing.rollups.definitions import FINEST
from billing.rollups.locks import gets_rollups
from billing.rollups.sql import OF_BATCHES, folded
from billing.rollups.state import has_changed

logger = logging.getLogger(__name__)

_MAX_BATCHES = 100
_MAX_EVENTS = 50_000

_WAITING = (
    "SELECT organization_id FROM billing_ingestbatch WHERE folded_at IS NULL GROUP BY 1 ORDER BY min(received_at)"
)
_CLAIM = """
SELECT id, last_event_id, accepted FROM billing_ingestbatch
WHERE organization_id = %s AND folded_at IS NULL
ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
"""
_MARK = "UPDATE billing_ingestbatch SET folded_at = %s WHERE organization_id = %s AND id = ANY(%s)"
_FOLD = [folded(rollup, OF_BATCHES) for rollup in FINEST]


@dataclass(frozen=True, slots=True)
class Folded:
    """How much has been folded, and of whom."""

    batches: int = 0
    events: int = 0
    organizations: frozenset[int] = field(default=frozenset(), compare=False)

    def __add__(self, other: "Folded") -> "Folded":
        organizations = self.organizations | other.organizations
        return Folded(self.batches + other.batches, self.events + other.events, organizations)


def fold(*, now: datetime) -> Folded:
    """Fold all that waits, of every organization, and that nobody else is folding."""
    done = Folded()
    for organization_id in organizations_with_unfolded():
        try:
            done += fold_organization(organization_id=organization_id, now=now)
        except Exception:
            # What one organization has sent must not hold up the others; the next tick tries again.
            logger.exception("batches could not be folded", extra={"organization_id": organization_id})
    return done


def organizations_with_unfolded() -> list[int]:
    """Who has batches that are not folded, the longest waiting first."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        return [organization_id for (organization_id,) in cursor.fetchall()]


def fold_organization(*, organization_id: int, now: datetime) -> Folded:
    """Fold what waits of one organization, in transactions of bounded size."""
    done = Folded()
    while (part := _fold_some(organization_id, now)).batches:
        done += part
    return done


def _fold_some(organization_id: int, now: datetime) -> Folded:
    with transaction.atomic(), connection.cursor() as cursor:
        if not gets_rollups(cursor, organization_id):
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
        for statement in _FOLD:
            cursor.execute(statement, parameters)
        cursor.execute(_MARK, [now, organization_id, ids])
        has_changed(cursor, organization_id)
    return Folded(len(batches), sum(accepted for _, _, accepted in batches), frozenset({organization_id}))


def _claim(cursor: Any, organization_id: int) -> Sequence[tuple[UUID, UUID, int]]:
    """The oldest batches that nobody has claimed, about `_MAX_EVENTS` events together. Those beyond are locked until
    the transaction ends, which is soon."""
    cursor.execute(_CLAIM, [organization_id, _MAX_BATCHES])
    claimed: list[tuple[UUID, UUID, int]] = []
    events = 0
    for batch in cursor.fetchall():
        if claimed and events + batch[2] > _MAX_EVENTS:
            break
        claimed.append(batch)
        events += batch[2]
    return claimed
