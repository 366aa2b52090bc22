"""Cost of executions (document 003), summed from their sessions on each request. Read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from psycopg import sql

from billing.models import Execution
from billing.reports.live_rollups import has_unfolded_batches, table_of
from billing.reports.sessions.members import Member, list_members
from billing.reports.sessions.newest import StartPosition, list_newest
from billing.reports.sessions.rows import SUMS, CostRow, Totals, cost_by_model, cost_by_phase, cost_by_tool
from billing.rollups.definitions import EXECUTION_TOTALS, SESSION_COSTS
from costtrack.errors import NotFoundError
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class ExecutionCosts:
    """Cost of one execution. `session_ids` are ordered by start; an empty `workflow_id` was not sent. `completed_at` is
    the latest end of the finalized sessions, and `is_complete` says whether all are finalized."""

    execution_id: str
    workflow_id: str
    session_ids: Sequence[str]
    totals: Totals
    cost_by_phase: Mapping[str, Decimal]
    cost_by_model: Mapping[str, Decimal]
    cost_by_tool: Mapping[str, Decimal]
    is_complete: bool
    started_at: datetime | None
    last_seen_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class ExecutionPage:
    """A page of executions, newest first. `last` is the position to continue after, or None on the last page."""

    executions: Sequence[ExecutionCosts]
    last: StartPosition | None


# A cost belongs to the phase of its event or, if the event names none, to that of its session.
_COSTS = sql.SQL("""
SELECT member.execution_id, coalesce(nullif(cost.phase_id, ''), member.phase_id) AS phase, '' AS service, model, tool,
    {sums}
FROM {costs} AS cost JOIN unnest(%(sessions)s::text[], %(executions)s::text[], %(phases)s::text[])
    AS member (session_id, execution_id, phase_id) ON member.session_id = cost.session_id
WHERE cost.organization_id = %(organization)s AND cost.session_id = ANY(%(sessions)s)
GROUP BY member.execution_id, phase, model, tool
ORDER BY member.execution_id, phase, model, tool
""")


def get_execution_costs(*, organization: Organization, execution_id: str) -> ExecutionCosts:
    """Return the cost of one execution. Raises NotFoundError if no session has named it."""
    # PostgreSQL text cannot contain NUL.
    if "\0" not in execution_id:
        (execution,) = _costs_of(organization, [execution_id], has_unfolded=has_unfolded_batches(organization))
        if execution.session_ids or _is_known(organization, execution_id):
            return execution
    raise NotFoundError(f"Execution cost not found for execution {execution_id}")


def newest_executions(*, organization: Organization, limit: int) -> list[ExecutionCosts]:
    """Return the latest executions, newest first."""
    return list(list_executions(organization=organization, after=None, limit=limit).executions)


def list_executions(*, organization: Organization, after: StartPosition | None, limit: int) -> ExecutionPage:
    """Return a page of executions after a position, newest first."""
    chosen = list_newest(organization, EXECUTION_TOTALS, limit=limit, after=after)
    return ExecutionPage(_costs_of(organization, chosen.keys, has_unfolded=chosen.has_unfolded), chosen.last)


def _is_known(organization: Organization, execution_id: str) -> bool:
    """Whether the execution exists although no session belongs to it: all its sessions may later have named another
    one."""
    return Execution.live().objects.of(organization).filter(execution_id=execution_id).exists()


def _costs_of(organization: Organization, execution_ids: Sequence[str], *, has_unfolded: bool) -> list[ExecutionCosts]:
    """Return the costs in the order of the ids."""
    members: dict[str, list[Member]] = {execution_id: [] for execution_id in execution_ids}
    for member in list_members(organization, execution_ids, has_unfolded=has_unfolded):
        members[member.execution_id].append(member)
    rows: dict[str, list[CostRow]] = {execution_id: [] for execution_id in execution_ids}
    for row in _rows(
        organization, [member for group in members.values() for member in group], has_unfolded=has_unfolded
    ):
        rows[row.owner].append(row)
    return [_execution(execution_id, members[execution_id], rows[execution_id]) for execution_id in execution_ids]


def _execution(execution_id: str, members: Sequence[Member], rows: Sequence[CostRow]) -> ExecutionCosts:
    completed = [member.completed_at for member in members if member.completed_at is not None]
    return ExecutionCosts(
        execution_id=execution_id,
        workflow_id=max((member.workflow_id for member in members), default=""),
        session_ids=[member.session_id for member in members],
        totals=Totals.of(rows),
        cost_by_phase=cost_by_phase(rows),
        cost_by_model=cost_by_model(rows),
        cost_by_tool=cost_by_tool(rows),
        is_complete=bool(members) and all(member.summaries for member in members),
        started_at=min((member.started_at for member in members), default=None),
        last_seen_at=max((member.last_seen_at for member in members), default=None),
        completed_at=max(completed, default=None),
    )


def _rows(organization: Organization, members: Sequence[Member], *, has_unfolded: bool) -> list[CostRow]:
    if not members:
        return []
    parameters: dict[str, Any] = {
        "organization": organization.pk,
        "sessions": [member.session_id for member in members],
        "executions": [member.execution_id for member in members],
        "phases": [member.phase_id for member in members],
    }
    with connection.cursor() as cursor:
        cursor.execute(_COSTS.format(costs=table_of(SESSION_COSTS, has_unfolded=has_unfolded), sums=SUMS), parameters)
        return [CostRow(*row) for row in cursor.fetchall()]
