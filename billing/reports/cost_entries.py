"""Read-only queries for the cost entries of workflow runs (document 002): every event of a run with its net cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from psycopg import sql

from billing.ingest.ledger_entries import COSTS_SOURCE, event_key
from billing.models import EventKey, Run
from billing.reports.event_list import Position
from costtrack.errors import ConflictError, NotFoundError
from costtrack.ids import earliest_after, ids_at
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class CostEntry:
    """A cost entry. `id` is the id it was recorded with; other events use their ledger id. `amount` includes
    adjustments and is None while the cost is unknown. Text fields are empty if they were not sent."""

    id: str
    run_id: str
    service: str
    group: str
    created_at: datetime
    amount: Decimal | None
    position: Position


@dataclass(frozen=True, slots=True)
class EntryPage:
    """A page of entries, newest first. `last` is the position to continue after, or None on the last page."""

    entries: Sequence[CostEntry]
    last: Position | None


_ENTRIES = sql.SQL("""
SELECT event.id, CASE WHEN event.source = %(source)s THEN event.event_id ELSE event.id::text END,
    event.run_id, event.service, coalesce(nullif(event.cost_group, ''), event.model), event.occurred_at,
    CASE WHEN event.unpriced + adjusted.unpriced <= 0
        THEN coalesce(event.token_cost_usd, 0) + event.compute_cost_usd + adjusted.cost_usd END
FROM ({selection}) AS event
CROSS JOIN LATERAL (
    SELECT coalesce(sum(coalesce(token_cost_usd, 0) + compute_cost_usd), 0) AS cost_usd,
        coalesce(sum(unpriced), 0) AS unpriced
    FROM billing_usageevent AS adjustment
    WHERE adjustment.organization_id = %(organization)s AND adjustment.id >= %(earliest)s
        AND adjustment.adjusts = event.id
) AS adjusted
ORDER BY event.occurred_at DESC, event.id DESC
""")
# Select the events of the run by its index first; a run has few compared with the ledger.
_BY_RUN = sql.SQL("""
SELECT * FROM (
    SELECT * FROM billing_usageevent
    WHERE organization_id = %(organization)s AND run_id = %(run)s AND run_id <> '' AND id >= %(earliest)s
        AND kind <> 'adjustment'
    OFFSET 0
) AS event
WHERE {after} ORDER BY occurred_at DESC, id DESC LIMIT %(enough)s
""")
_AFTER = sql.SQL("(occurred_at, id) < (%(after_at)s, %(after_id)s)")
_ALL = sql.SQL("true")
_BY_ID = sql.SQL("SELECT * FROM billing_usageevent WHERE organization_id = %(organization)s AND id = ANY(%(ids)s)")


def list_run_entries(*, organization: Organization, run_id: str, after: Position | None, limit: int) -> EntryPage:
    """Return the entries of a run after a position, newest first. Raises NotFoundError for an unknown run."""
    # PostgreSQL text cannot contain NUL.
    run = Run.objects.of(organization).filter(run_id=run_id).first() if "\0" not in run_id else None
    if run is None:
        raise NotFoundError(f"Run {run_id} not found")
    # The run was created by its first event.
    earliest = earliest_after(ids_at(run.created_at)[0])
    parameters: dict[str, Any] = {"run": run_id, "earliest": earliest, "enough": limit + 1}
    if after is not None:
        parameters |= {"after_at": after.occurred_at, "after_id": after.id}
    entries = _fetch(organization, _BY_RUN.format(after=_AFTER if after is not None else _ALL), parameters)
    page = entries[:limit]
    return EntryPage(page, page[-1].position if len(entries) > limit else None)


def get_entries(*, organization: Organization, ids: Sequence[str]) -> list[CostEntry]:
    """Return recorded entries in the order of `ids`. Raises ConflictError if an event was dropped by retention."""
    keys = [event_key(COSTS_SOURCE, entry_id) for entry_id in ids]
    event_ids = list(EventKey.objects.of(organization).filter(key__in=keys).values_list("event_id", flat=True))
    parameters = {"ids": event_ids, "earliest": earliest_after(min(event_ids))}
    entries = {entry.id: entry for entry in _fetch(organization, _BY_ID, parameters)}
    dropped = [entry_id for entry_id in ids if entry_id not in entries]
    if dropped:
        raise ConflictError(f"id: events of these entries were dropped by retention: {', '.join(dropped)}", param="id")
    return [entries[entry_id] for entry_id in ids]


def _fetch(organization: Organization, selection: sql.Composable, parameters: dict[str, Any]) -> list[CostEntry]:
    with connection.cursor() as cursor:
        cursor.execute(
            _ENTRIES.format(selection=selection),
            {"organization": organization.pk, "source": COSTS_SOURCE, **parameters},
        )
        return [
            CostEntry(entry_id, run_id, service, group, created_at, amount, Position(created_at, event_id))
            for event_id, entry_id, run_id, service, group, created_at, amount in cursor.fetchall()
        ]
