"""Cost of workflow runs (document 002). Read-only.

Each run counts once, however often it is reached, so cycles are harmless. Whole days come from rollups, the rest of a
window from the ledger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from psycopg import sql

from billing.models import Run
from billing.reports.rollup_query import RollupQuery, Sums, read_sums
from billing.reports.sql import Condition, Parameters, bind
from billing.rollups.definitions import RUN_DAYS, RUN_SERVICE_DAYS
from costtrack.calendar import Window
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
_ONE_RUN = sql.SQL("run_id = {}")
# The conditions on '' match partial indexes.
_OF_WORKFLOW = sql.SQL("workflow_id = {} AND workflow_id <> ''")
_RUNS = sql.SQL("run_id IN (SELECT run_id FROM billing_run WHERE organization_id = %(organization)s AND {base})")
# UNION (not UNION ALL) drops runs that were already reached, which ends cycles and counts shared descendants once.
_WITH_DESCENDANTS = sql.SQL("""run_id = ANY (ARRAY(
    WITH RECURSIVE tree (run_id) AS (
        SELECT run_id FROM billing_run WHERE organization_id = %(organization)s AND {base}
        UNION
        SELECT child.run_id FROM tree JOIN billing_run AS child
            ON child.organization_id = %(organization)s AND child.parent_run_id = tree.run_id
            AND child.parent_run_id <> ''
    ) SELECT run_id FROM tree))""")


def get_run(*, organization: Organization, run_id: str) -> Run | None:
    """Return one run, or None if it is unknown."""
    # PostgreSQL text cannot contain NUL.
    return Run.objects.of(organization).filter(run_id=run_id).first() if "\0" not in run_id else None


def get_run_costs(*, organization: Organization, run_id: str, include_children: bool, now: datetime) -> RunCosts:
    """Return the cost of one run, alone or with all its descendants. Raises NotFoundError for an unknown run."""
    if "\0" not in run_id:
        query = RollupQuery((RUN_DAYS,), by=_BY, condition=_one_run(run_id, include_children))
        (rows,) = read_sums(organization, query)
        if rows or get_run(organization=organization, run_id=run_id) is not None:
            return _costs(rows, now)
    raise NotFoundError(f"Run {run_id} not found")


def get_total_run_costs(
    *, organization: Organization, workflow_id: str | None, window: Window, include_children: bool, now: datetime
) -> RunCosts:
    """Return the cost of all runs or of a workflow. `include_children` adds all descendants, of any workflow. The
    window applies to every counted cost."""
    query = RollupQuery((RUN_SERVICE_DAYS,), (window,), _BY)
    if workflow_id:
        query = RollupQuery((RUN_DAYS,), (window,), _BY, _runs_of_workflow(workflow_id, include_children))
    (rows,) = read_sums(organization, query)
    return _costs(rows, now)


def _one_run(run_id: str, include_children: bool) -> Condition:  # noqa: FBT001 - with the other
    def condition(parameters: Parameters) -> sql.Composable:
        base = _ONE_RUN.format(bind(parameters, run_id))
        return _WITH_DESCENDANTS.format(base=base) if include_children else base

    return condition


def _runs_of_workflow(workflow_id: str, include_children: bool) -> Condition:  # noqa: FBT001
    def condition(parameters: Parameters) -> sql.Composable:
        runs = _WITH_DESCENDANTS if include_children else _RUNS
        return runs.format(base=_OF_WORKFLOW.format(bind(parameters, workflow_id)))

    return condition


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
