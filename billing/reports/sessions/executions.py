"""Cost of executions (document 003), summed from their sessions on each request. Read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from psycopg import sql

from billing.models import Execution
from billing.reports.cursors import Page, StartPosition
from billing.reports.rollup_reader import RollupReader
from billing.reports.sessions.newest import UNFILTERED, EntityFilter, SessionRow, list_members, list_newest
from billing.reports.sessions.session_rows import SUMS, CostRow, Totals, cost_by_model, cost_by_phase, cost_by_tool
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


# A cost belongs to the phase of its event or, if the event names none, to that of its session.
_COSTS = sql.SQL("""
SELECT member.execution_id, coalesce(nullif(cost.phase_id, ''), member.phase_id) AS phase, '' AS service, model, tool,
    {sums}
FROM {costs} AS cost JOIN unnest(%(sessions)s::text[], %(member_executions)s::text[], %(phases)s::text[])
    AS member (session_id, execution_id, phase_id) ON member.session_id = cost.session_id
WHERE cost.organization_id = %(organization)s AND cost.session_id = ANY(%(sessions)s)
GROUP BY member.execution_id, phase, model, tool
ORDER BY member.execution_id, phase, model, tool
""")


def get_execution_costs(*, organization: Organization, execution_id: str) -> ExecutionCosts:
    """Return the cost of one execution. Raises NotFoundError if no session has named it."""
    # PostgreSQL text cannot contain NUL.
    if "\0" not in execution_id:
        (execution,) = _costs_of([execution_id], RollupReader(organization))
        if execution.session_ids or _is_known(organization, execution_id):
            return execution
    raise NotFoundError(f"Execution cost not found for execution {execution_id}")


def list_executions(
    *,
    organization: Organization,
    filters: EntityFilter = UNFILTERED,
    after: StartPosition | None = None,
    limit: int,
) -> Page[ExecutionCosts, StartPosition]:
    """Return a page of executions after a position, newest first (see `list_newest`)."""
    reader = RollupReader(organization)
    page = list_newest(reader, EXECUTION_TOTALS, filters=filters, limit=limit, after=after)
    return Page(_costs_of([position.key for position in page.rows], reader), page.last)


def _is_known(organization: Organization, execution_id: str) -> bool:
    """Whether the execution exists although no session belongs to it: all its sessions may later have named another
    one."""
    return Execution.live().objects.of(organization).filter(execution_id=execution_id).exists()


def _costs_of(execution_ids: Sequence[str], reader: RollupReader) -> list[ExecutionCosts]:
    """Return the costs in the order of the ids."""
    members: dict[str, list[SessionRow]] = {execution_id: [] for execution_id in execution_ids}
    for member in list_members(reader, execution_ids):
        members[member.execution_id].append(member)
    rows: dict[str, list[CostRow]] = {execution_id: [] for execution_id in execution_ids}
    for row in _rows([member for group in members.values() for member in group], reader):
        rows[row.owner].append(row)
    return [_execution(execution_id, members[execution_id], rows[execution_id]) for execution_id in execution_ids]


def _execution(execution_id: str, members: Sequence[SessionRow], rows: Sequence[CostRow]) -> ExecutionCosts:
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


def _rows(members: Sequence[SessionRow], reader: RollupReader) -> list[CostRow]:
    if not members:
        return []

    session_ids = [member.session_id for member in members]

    def compose(reader: RollupReader) -> sql.Composable:
        reader.parameters.update(
            sessions=session_ids,
            member_executions=[member.execution_id for member in members],
            phases=[member.phase_id for member in members],
        )
        return _COSTS.format(costs=reader.table(SESSION_COSTS, lambda: session_ids), sums=SUMS)

    return [CostRow(*row) for row in reader.read(compose)]
