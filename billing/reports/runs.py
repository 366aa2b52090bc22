"""Cost of workflow runs (document 002). Read-only.

Each run counts once, however often it is reached, so cycles are harmless. Whole days come from rollups, the rest of a
window from the ledger. The costs of a workflow come from a rollup of its runs and their descendants. Runs that have
moved since they were folded are added and subtracted (`billing.rollups.workflows`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from psycopg import sql

from billing.models import Run
from billing.reports.rollup_query import RollupQuery, Sums, add_sums, read_sums
from billing.reports.sql import Parameters, bind
from billing.rollups.definitions import RUN_DAYS, RUN_SERVICE_DAYS, WORKFLOW_DAYS, WORKFLOW_TOTALS
from billing.rollups.workflows import children_of
from costtrack.calendar import ALWAYS, Window
from costtrack.database.queries import fetch_rows
from costtrack.errors import NotFoundError
from costtrack.money import ZERO
from organizations.models import Organization

# Amounts without a service or a group use this key, so that groups always add up to their service.
DEFAULT_NAME = "default"


@dataclass(frozen=True, slots=True)
class RunCosts:
    """Cost of a set of runs, by service and by group within a service. `unpriced_events` counts events whose cost is
    unknown and not included."""

    total: Decimal
    by_service: Mapping[str, Decimal]
    by_group: Mapping[str, Mapping[str, Decimal]]
    unpriced_events: int
    as_of: datetime


_BY = ("service", "cost_group")
_ONE_RUN = sql.SQL("SELECT {run}::text")
# billing/migrations/sql/0036_moved_runs.sql
_MOVED = sql.SQL("SELECT unnest(billing_moved_runs(%(organization)s, {workflow}, {with_descendants}, {are_added}))")
# Evaluated once, before the rows are read.
_AMONG = sql.SQL("run_id = ANY (ARRAY({}))")
# UNION (not UNION ALL) drops runs that were already reached, which ends cycles and counts shared descendants once.
_TREE = sql.SQL("""
WITH RECURSIVE tree (run_id) AS (
    SELECT run_id FROM billing_run WHERE organization_id = %(organization)s AND run_id = {run}
    UNION
    SELECT child.run_id FROM tree CROSS JOIN LATERAL ({children}) AS child
) SELECT run_id FROM tree
""")


def get_run(*, organization: Organization, run_id: str) -> Run | None:
    """Return one run, or None if it is unknown."""
    # PostgreSQL text cannot contain NUL.
    return Run.objects.of(organization).filter(run_id=run_id).first() if "\0" not in run_id else None


def get_run_costs(
    *, organization: Organization, run_id: str, include_children: bool, window: Window = ALWAYS, now: datetime
) -> RunCosts:
    """Return the cost of one run, alone or with all its descendants. Raises NotFoundError for an unknown run."""
    if "\0" not in run_id:
        runs = _TREE if include_children else _ONE_RUN
        (rows,) = read_sums(organization, _of_runs(organization, runs, window, run=run_id))
        if rows or get_run(organization=organization, run_id=run_id) is not None:
            return _costs(rows, now)
    raise NotFoundError(f"Run {run_id} not found")


def get_total_run_costs(
    *, organization: Organization, workflow_id: str | None, window: Window, include_children: bool, now: datetime
) -> RunCosts:
    """Return the cost of all runs or of a workflow. `include_children` adds all descendants, of any workflow. The
    window applies to every counted cost."""
    if not workflow_id:
        (rows,) = read_sums(organization, RollupQuery((RUN_SERVICE_DAYS,), (window,), _BY))
        return _costs(rows, now)
    of_workflow = {"workflow_id": workflow_id} | ({} if include_children else {"is_descendant": False})
    moved = {"workflow": workflow_id, "with_descendants": include_children}
    folded, added, subtracted = read_sums(
        organization,
        RollupQuery.of(WORKFLOW_TOTALS if window == ALWAYS else WORKFLOW_DAYS, _BY, window, of_workflow),
        *(_of_runs(organization, _MOVED, window, **moved, are_added=are_added) for are_added in (True, False)),
    )
    return _costs(add_sums(folded, added, subtracted), now)


def _of_runs(organization: Organization, runs: sql.SQL, window: Window, **values: object) -> RollupQuery:
    """Return the query of the costs of runs, which `runs` selects with these values."""

    def select(parameters: Parameters) -> sql.Composed:
        return runs.format(
            children=children_of("tree"), **{name: bind(parameters, value) for name, value in values.items()}
        )

    def condition(parameters: Parameters) -> sql.Composed:
        return _AMONG.format(select(parameters))

    def keys() -> list[str]:
        parameters: Parameters = {"organization": organization.pk}
        return [run_id for (run_id,) in fetch_rows(select(parameters), parameters)]

    return RollupQuery((RUN_DAYS,), (window,), _BY, condition, keys=keys)


def _costs(rows: Sequence[Sums], now: datetime) -> RunCosts:
    by_service: dict[str, Decimal] = {}
    by_group: dict[str, dict[str, Decimal]] = {}
    for sums in sorted(rows):
        service, group = (name or DEFAULT_NAME for name in sums.key)
        by_service[service] = by_service.get(service, ZERO) + sums.cost
        groups = by_group.setdefault(service, {})
        groups[group] = groups.get(group, ZERO) + sums.cost
    unpriced_events = sum(sums.unpriced for sums in rows)
    return RunCosts(sum(by_service.values(), ZERO), by_service, by_group, unpriced_events, as_of=now)
