"""Cost of sessions (document 003). Read-only. Lists select their session ids by an index first and then read only their
rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from django.db import connection
from psycopg import sql

from billing.pricing.price_book import price_book
from billing.reports.live_rollups import HAS_UNFOLDED, has_unfolded_batches, table_of
from billing.reports.sessions.members import list_members
from billing.reports.sessions.newest import StartPosition, list_newest
from billing.reports.sessions.rows import SUMS, CostRow, Totals, cost_by_model, cost_by_tool, tokens_by_tool
from billing.reports.sessions.tool_tokens import cost_by_tool_tokens
from billing.rollups.definitions import SESSION_COSTS, SESSION_TOTALS
from costtrack.errors import NotFoundError
from organizations.models import Organization


class _SessionRow(NamedTuple):
    """Ids of a session (empty if not sent) and its times."""

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


@dataclass(frozen=True, slots=True)
class SessionCosts:
    """Cost of one session. Ids are empty if they were not sent. `started_at` and `last_seen_at` are the times of its
    first and last event, `completed_at` is the time of its latest summary."""

    session_id: str
    execution_id: str
    workflow_id: str
    phase_id: str
    workspace_id: str
    agent_id: str
    totals: Totals
    cost_by_model: Mapping[str, Decimal]
    cost_by_tool: Mapping[str, Decimal]
    tokens_by_tool: Mapping[str, int]
    cost_by_tool_tokens: Mapping[str, Decimal]
    is_finalized: bool
    started_at: datetime
    last_seen_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class SessionPage:
    """A page of sessions, newest first. `last` is the position to continue after, or None on the last page."""

    sessions: Sequence[SessionCosts]
    last: StartPosition | None


# One statement and so one snapshot: whether there are unfolded batches, the sessions, and their costs. Without any
# session there is one row with only the first column.
_SESSIONS = sql.SQL("""
SELECT {has_unfolded}, session.*, cost.* FROM (VALUES (1)) AS once LEFT JOIN ((
    SELECT session_id, max(execution_id), max(workflow_id), max(phase_id), max(workspace_id), max(agent_id),
        sum(summaries)::bigint, min(first_at) AS first_at, max(last_at), max(completed_at)
    FROM {totals} WHERE organization_id = %(organization)s AND session_id = ANY(%(sessions)s) GROUP BY session_id
) AS session JOIN (
    SELECT session_id AS owner, phase_id, service, model, tool, {sums}
    FROM {costs} WHERE organization_id = %(organization)s AND session_id = ANY(%(sessions)s)
    GROUP BY session_id, phase_id, service, model, tool
) AS cost ON cost.owner = session.session_id) ON true
ORDER BY session_id, phase_id, service, model, tool
""")
_SESSION_COLUMNS = slice(1, 1 + len(_SessionRow._fields))
_COST_COLUMNS = slice(_SESSION_COLUMNS.stop, None)


def get_session_costs(*, organization: Organization, session_id: str) -> SessionCosts:
    """Return the cost of one session. Raises NotFoundError for an unknown session."""
    # PostgreSQL text cannot contain NUL.
    if "\0" not in session_id:
        rows_by_session, has_unfolded = _fetch(organization, [session_id], has_unfolded=False)
        if has_unfolded:
            rows_by_session, _ = _fetch(organization, [session_id], has_unfolded=True)
        for session in _sessions(organization, rows_by_session):
            return session
    raise NotFoundError(f"Session cost not found for session {session_id}")


def newest_sessions(*, organization: Organization, limit: int) -> list[SessionCosts]:
    """Return the latest sessions, newest first."""
    return list(list_sessions(organization=organization, after=None, limit=limit).sessions)


def list_sessions(*, organization: Organization, after: StartPosition | None, limit: int) -> SessionPage:
    """Return a page of sessions after a position, newest first."""
    chosen = list_newest(organization, SESSION_TOTALS, limit=limit, after=after)
    return SessionPage(_in_order(organization, chosen.keys, has_unfolded=chosen.has_unfolded), chosen.last)


def list_execution_sessions(*, organization: Organization, execution_id: str, limit: int) -> list[SessionCosts]:
    """Return the sessions of an execution, oldest first; none if it is unknown."""
    has_unfolded = has_unfolded_batches(organization)
    members = list_members(organization, [execution_id], limit=limit, has_unfolded=has_unfolded)
    return _in_order(organization, [member.session_id for member in members], has_unfolded=has_unfolded)


def _in_order(organization: Organization, chosen: Sequence[str], *, has_unfolded: bool) -> list[SessionCosts]:
    if not chosen:
        return []
    rows_by_session, _ = _fetch(organization, chosen, has_unfolded=has_unfolded)
    by_id = {session.session_id: session for session in _sessions(organization, rows_by_session)}
    # A rebuild may have removed a session in between.
    return [by_id[session_id] for session_id in chosen if session_id in by_id]


def _sessions(
    organization: Organization, rows_by_session: Sequence[tuple[_SessionRow, CostRow]]
) -> Iterator[SessionCosts]:
    prices = price_book(organization.pk) if any(row.tool_tokens for _, row in rows_by_session) else None
    for session, group in groupby(rows_by_session, key=itemgetter(0)):
        rows = [row for _, row in group]
        yield SessionCosts(
            session_id=session.session_id,
            execution_id=session.execution_id,
            workflow_id=session.workflow_id,
            phase_id=session.phase_id,
            workspace_id=session.workspace_id,
            agent_id=session.agent_id,
            totals=Totals.of(rows),
            cost_by_model=cost_by_model(rows),
            cost_by_tool=cost_by_tool(rows),
            tokens_by_tool=tokens_by_tool(rows),
            cost_by_tool_tokens=cost_by_tool_tokens(rows, prices=prices, at=session.started_at) if prices else {},
            is_finalized=session.summaries > 0,
            started_at=session.started_at,
            last_seen_at=session.last_seen_at,
            completed_at=session.completed_at,
        )


def _fetch(
    organization: Organization, session_ids: Sequence[str], *, has_unfolded: bool
) -> tuple[list[tuple[_SessionRow, CostRow]], bool]:
    """Return the rows of the existing sessions, and whether there are unfolded batches."""
    query = _SESSIONS.format(
        has_unfolded=HAS_UNFOLDED,
        totals=table_of(SESSION_TOTALS, has_unfolded=has_unfolded),
        costs=table_of(SESSION_COSTS, has_unfolded=has_unfolded),
        sums=SUMS,
    )
    with connection.cursor() as cursor:
        cursor.execute(query, {"organization": organization.pk, "sessions": list(session_ids)})
        rows = cursor.fetchall()
    rows_by_session = [
        (_SessionRow(*row[_SESSION_COLUMNS]), CostRow(*row[_COST_COLUMNS]))
        for row in rows
        if row[_SESSION_COLUMNS.start] is not None
    ]
    return rows_by_session, rows[0][0]
