"""What sessions cost (document 003). Read-only.

Lists choose their sessions first, by an index, and then read the rows of those alone.
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

from billing.pricing.cache import price_book
from billing.reports.live_rollups import HAS_UNFOLDED, has_unfolded_batches, table_of
from billing.reports.sessions.members import members_of
from billing.reports.sessions.newest import Place, newest
from billing.reports.sessions.rows import SUMS, CostRow, Totals, cost_by_model, cost_by_tool, tokens_by_tool
from billing.reports.sessions.tool_tokens import cost_by_tool_tokens
from billing.rollups.definitions import SESSION_COSTS, SESSION_TOTALS
from costtrack.errors import NotFoundError
from organizations.models import Organization


class _About(NamedTuple):
    """What a session was told to be part of (empty: nothing), and when it was."""

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
    """One session. Ids are empty if nobody told them; it is seen from its first event to its last one, and
    `completed_at` is the time of its latest summary."""

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
    """Sessions, the newest first, and the place to go on from; None: there are no more."""

    sessions: Sequence[SessionCosts]
    last: Place | None


# All in one statement, and so at one moment: whether something is not folded yet, the sessions, their costs (which each
# has as soon as there is something about it). Without any session there is one row that has only the first.
_SESSIONS = sql.SQL("""
SELECT {has_unfolded}, about.*, cost.* FROM (VALUES (1)) AS once LEFT JOIN ((
    SELECT session_id, max(execution_id), max(workflow_id), max(phase_id), max(workspace_id), max(agent_id),
        sum(summaries)::bigint, min(first_at) AS first_at, max(last_at), max(completed_at)
    FROM {totals} WHERE organization_id = %(organization)s AND session_id = ANY(%(sessions)s) GROUP BY session_id
) AS about JOIN (
    SELECT session_id AS owner, phase_id, service, model, tool, {sums}
    FROM {costs} WHERE organization_id = %(organization)s AND session_id = ANY(%(sessions)s)
    GROUP BY session_id, phase_id, service, model, tool
) AS cost ON cost.owner = about.session_id) ON true
ORDER BY session_id, phase_id, service, model, tool
""")
_FACTS = slice(1, 1 + len(_About._fields))
_COSTS = slice(_FACTS.stop, None)


def costs_of_session(*, organization: Organization, session_id: str) -> SessionCosts:
    """Raises NotFoundError for a session nobody has named."""
    # No text in the database has a NUL, and PostgreSQL would not take the question.
    if "\0" not in session_id:
        found, has_unfolded = _ask(organization, [session_id], has_unfolded=False)
        if has_unfolded:
            found, _ = _ask(organization, [session_id], has_unfolded=True)
        for session in _sessions(organization, found):
            return session
    raise NotFoundError(f"Session cost not found for session {session_id}")


def newest_sessions(*, organization: Organization, limit: int) -> list[SessionCosts]:
    """Those that began last, the newest first."""
    return list(page_of_sessions(organization=organization, after=None, limit=limit).sessions)


def page_of_sessions(*, organization: Organization, after: Place | None, limit: int) -> SessionPage:
    """The newest first, from just after a place on."""
    chosen = newest(organization, SESSION_TOTALS, limit=limit, after=after)
    return SessionPage(_in_order(organization, chosen.keys, has_unfolded=chosen.has_unfolded), chosen.last)


def sessions_of_execution(*, organization: Organization, execution_id: str, limit: int) -> list[SessionCosts]:
    """Those of an execution, the oldest first; none if there is no such execution."""
    has_unfolded = has_unfolded_batches(organization)
    members = members_of(organization, [execution_id], limit=limit, has_unfolded=has_unfolded)
    return _in_order(organization, [member.session_id for member in members], has_unfolded=has_unfolded)


def _in_order(organization: Organization, chosen: Sequence[str], *, has_unfolded: bool) -> list[SessionCosts]:
    if not chosen:
        return []
    found, _ = _ask(organization, chosen, has_unfolded=has_unfolded)
    by_id = {session.session_id: session for session in _sessions(organization, found)}
    # One may have gone meanwhile: a rebuild drops what has no events.
    return [by_id[session_id] for session_id in chosen if session_id in by_id]


def _sessions(organization: Organization, found: Sequence[tuple[_About, CostRow]]) -> Iterator[SessionCosts]:
    book = price_book(organization.pk) if any(row.tool_tokens for _, row in found) else None
    for about, group in groupby(found, key=itemgetter(0)):
        rows = [row for _, row in group]
        yield SessionCosts(
            session_id=about.session_id,
            execution_id=about.execution_id,
            workflow_id=about.workflow_id,
            phase_id=about.phase_id,
            workspace_id=about.workspace_id,
            agent_id=about.agent_id,
            totals=Totals.of(rows),
            cost_by_model=cost_by_model(rows),
            cost_by_tool=cost_by_tool(rows),
            tokens_by_tool=tokens_by_tool(rows),
            cost_by_tool_tokens=cost_by_tool_tokens(rows, book=book, at=about.started_at) if book else {},
            is_finalized=about.summaries > 0,
            started_at=about.started_at,
            last_seen_at=about.last_seen_at,
            completed_at=about.completed_at,
        )


def _ask(
    organization: Organization, session_ids: Sequence[str], *, has_unfolded: bool
) -> tuple[list[tuple[_About, CostRow]], bool]:
    """The rows of those sessions that there are, by session, and whether something is not folded yet."""
    query = _SESSIONS.format(
        has_unfolded=HAS_UNFOLDED,
        totals=table_of(SESSION_TOTALS, has_unfolded=has_unfolded),
        costs=table_of(SESSION_COSTS, has_unfolded=has_unfolded),
        sums=SUMS,
    )
    with connection.cursor() as cursor:
        cursor.execute(query, {"organization": organization.pk, "sessions": list(session_ids)})
        rows = cursor.fetchall()
    found = [(_About(*row[_FACTS]), CostRow(*row[_COSTS])) for row in rows if row[_FACTS.start] is not None]
    return found, rows[0][0]
