"""Cost of sessions (document 003). Read-only. Lists select their session ids by an index first and then read only their
rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg import sql

from billing.pricing.price_book import price_book
from billing.reports.cursors import Page, StartPosition, page_of
from billing.reports.rollup_reader import RollupReader, read_rollups
from billing.reports.sessions.newest import (
    SESSION_COLUMNS,
    UNFILTERED,
    EntityFilter,
    SessionRow,
    list_members,
    list_newest,
)
from billing.reports.sessions.session_rows import (
    SUMS,
    CostRow,
    Totals,
    cost_by_model,
    cost_by_tool,
    cost_by_tool_tokens,
    tokens_by_tool,
)
from billing.rollups.definitions import SESSION_COSTS, SESSION_TOTALS
from costtrack.errors import NotFoundError
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class SessionCosts:
    """Cost of one session. Ids are empty if they were not sent. `summaries` is how many it has, `started_at` and
    `last_seen_at` are the times of its first and last event, `completed_at` is the time of its latest summary."""

    session_id: str
    execution_id: str
    workflow_id: str
    phase_id: str
    workspace_id: str
    agent_id: str
    summaries: int
    started_at: datetime
    last_seen_at: datetime
    completed_at: datetime | None
    totals: Totals
    cost_by_model: Mapping[str, Decimal]
    cost_by_tool: Mapping[str, Decimal]
    tokens_by_tool: Mapping[str, int]
    cost_by_tool_tokens: Mapping[str, Decimal]

    @property
    def is_finalized(self) -> bool:
        return self.summaries > 0


# One statement and so one snapshot: the sessions and their costs.
_SESSIONS = sql.SQL("""
SELECT session.*, cost.* FROM (
    SELECT {columns} FROM {totals} AS total
    WHERE organization_id = %(organization)s AND session_id = ANY({session_ids}) GROUP BY session_id
) AS session JOIN (
    SELECT session_id AS owner, phase_id, service, model, tool, {sums}
    FROM {costs} AS cost WHERE organization_id = %(organization)s AND session_id = ANY({session_ids})
    GROUP BY session_id, phase_id, service, model, tool
) AS cost ON cost.owner = session.session_id
ORDER BY session_id, phase_id, service, model, tool
""")
_WIDTH = len(SessionRow._fields)


def get_session_costs(*, organization: Organization, session_id: str) -> SessionCosts:
    """Return the cost of one session. Raises NotFoundError for an unknown session."""
    # PostgreSQL text cannot contain NUL.
    if "\0" not in session_id:
        rows = read_rollups(organization, lambda reader: _statement(reader, [session_id]))
        for session in _sessions(organization, rows):
            return session
    raise NotFoundError(f"Session cost not found for session {session_id}")


def list_sessions(
    *,
    organization: Organization,
    filters: EntityFilter = UNFILTERED,
    after: StartPosition | None = None,
    limit: int,
) -> Page[SessionCosts, StartPosition]:
    """Return a page of sessions after a position, newest first (see `list_newest`)."""
    reader = RollupReader(organization)
    page = list_newest(reader, SESSION_TOTALS, filters=filters, limit=limit, after=after)
    return Page(_in_order(organization, [position.key for position in page.rows], reader), page.last)


def list_execution_sessions(
    *,
    organization: Organization,
    execution_id: str,
    filters: EntityFilter = UNFILTERED,
    after: StartPosition | None = None,
    limit: int,
) -> Page[SessionCosts, StartPosition]:
    """Return a page of the sessions of an execution, oldest first; none if it is unknown."""
    reader = RollupReader(organization)
    members = list_members(reader, [execution_id], filters=filters, after=after, limit=limit + 1)
    page = page_of(members, limit, lambda member: StartPosition(member.started_at, member.session_id))
    return Page(_in_order(organization, [member.session_id for member in page.rows], reader), page.last)


def _in_order(organization: Organization, session_ids: Sequence[str], reader: RollupReader) -> list[SessionCosts]:
    if not session_ids:
        return []
    sessions = _sessions(organization, reader.read(lambda reader: _statement(reader, session_ids)))
    by_id = {session.session_id: session for session in sessions}
    # A rebuild may have removed a session in between.
    return [by_id[session_id] for session_id in session_ids if session_id in by_id]


def _statement(reader: RollupReader, session_ids: Sequence[str]) -> sql.Composed:
    return _SESSIONS.format(
        session_ids=reader.bind(list(session_ids)),
        columns=SESSION_COLUMNS,
        totals=reader.table(SESSION_TOTALS, lambda: session_ids),
        costs=reader.table(SESSION_COSTS, lambda: session_ids),
        sums=SUMS,
    )


def _sessions(organization: Organization, rows: Iterable[tuple[Any, ...]]) -> Iterator[SessionCosts]:
    """Yield the existing sessions."""
    by_session: dict[SessionRow, list[CostRow]] = {}
    for row in rows:
        session = SessionRow(*row[:_WIDTH])
        by_session.setdefault(session, []).append(CostRow(*row[_WIDTH:]))
    has_tool_tokens = any(row.tool_tokens for cost_rows in by_session.values() for row in cost_rows)
    prices = price_book(organization.pk) if has_tool_tokens else None
    for session, cost_rows in by_session.items():
        yield SessionCosts(
            **session._asdict(),
            totals=Totals.of(cost_rows),
            cost_by_model=cost_by_model(cost_rows),
            cost_by_tool=cost_by_tool(cost_rows),
            tokens_by_tool=tokens_by_tool(cost_rows),
            cost_by_tool_tokens=cost_by_tool_tokens(cost_rows, prices=prices, at=session.started_at) if prices else {},
        )
