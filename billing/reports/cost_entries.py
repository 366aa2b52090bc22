"""Read-only queries for the cost entries of workflow runs (document 002): every event of a run with its net cost."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from billing.ingest.ledger_entries import COSTS_SOURCE, event_key
from billing.models import EventKey
from billing.reports.cursors import Page, Position
from billing.reports.event_query import EventQuery
from billing.reports.runs import get_run
from billing.reports.sql import Parameters, bind
from costtrack.errors import ConflictError, NotFoundError
from organizations.models import Organization


class CostEntry(NamedTuple):
    """A cost entry. `cost_usd` is its net cost, None while it is unknown. Text fields are empty if they were not
    sent."""

    id: UUID
    source: str
    event_id: str
    run_id: str
    service: str
    cost_group_or_model: str
    occurred_at: datetime
    cost_usd: Decimal | None

    @property
    def entry_id(self) -> str:
        """The id it was recorded with; other events use their ledger id."""
        return self.event_id if self.source == COSTS_SOURCE else str(self.id)


def list_run_entries(
    *,
    organization: Organization,
    run_id: str,
    since: datetime | None = None,
    after: Position | None,
    limit: int,
) -> Page[CostEntry, Position]:
    """Return the entries of a run after a position, newest first. Raises NotFoundError for an unknown run. `since` is
    the start of the visible history."""
    run = get_run(organization=organization, run_id=run_id)
    if run is None:
        raise NotFoundError(f"Run {run_id} not found")

    def condition(parameters: Parameters) -> sql.Composable:
        # The condition on '' matches the partial index.
        of_run = sql.SQL("run_id = {} AND run_id <> ''").format(bind(parameters, run_id))
        if since is None:
            return of_run
        return sql.SQL("{} AND occurred_at >= {}").format(of_run, bind(parameters, since))

    # The run was created by its first event.
    query = EventQuery(organization, condition=condition)
    return query.page_by_index(CostEntry, after=after, limit=limit, received_since=run.created_at)


def get_entries(*, organization: Organization, ids: Sequence[str]) -> list[CostEntry]:
    """Return recorded entries in the order of `ids`. Raises ConflictError if an event was dropped by retention."""
    keys = [event_key(COSTS_SOURCE, entry_id) for entry_id in ids]
    event_ids = list(EventKey.objects.of(organization).filter(key__in=keys).values_list("event_id", flat=True))
    rows = EventQuery(organization).by_ids(CostEntry, event_ids)
    entries = {entry.event_id: entry for entry in rows.values()}
    dropped = [entry_id for entry_id in ids if entry_id not in entries]
    if dropped:
        raise ConflictError(f"id: events of these entries were dropped by retention: {', '.join(dropped)}", param="id")
    return [entries[entry_id] for entry_id in ids]
