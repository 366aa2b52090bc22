"""Cost of workflow runs (document 002). Read-only.

Each run counts once, however often it is reached, so cycles are harmless. Whole days come from rollups, the rest of a
window from the ledger. The costs of a workflow come from a rollup of its runs, unless one of them has just changed its
workflow: then its runs are added up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from psycopg import sql

from billing.models import Run
from billing.reports.rollup_query import RollupQuery, Sums, read_sums
from billing.reports.sql import Condition, Parameters, bind
from billing.rollups.definitions import RUN_DAYS, RUN_SERVICE_DAYS, WORKFLOW_DAYS, WORKFLOW_TOTALS
from costtrack.calendar import ALWAYS, Window
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
# Whether a run has left or joined the workflow since it was folded. Evaluated once, before the rows are read.
_HAS_CHANGED = sql.SQL("""(SELECT EXISTS (
    SELECT FROM billing_run
    WHERE organization_id = %(organization)s AND NOT (folded_workflow_id = workflow_id)
        AND {workflow} IN (folded_workflow_id, workflow_id)
))""")
_FOLDED_WORKFLOW = sql.SQL("workflow_id = {workflow} AND NOT {has_changed}")
_RUNS_IF_CHANGED = sql.SQL("""{has_changed} AND run_id IN (
    SELECT run_id FROM billing_run WHERE organization_id = %(organization)s AND {base})""")
# UNION (not UNION ALL) drops runs that were already reached, which ends cycles and counts shared descendants once.
_WITH_DESCENDANTS = sql.SQL("""run_id = ANY (ARRAY(
    WITH RECURSIVE tree (run_id, workflow_id) AS (
        SELECT run_id, workflow_id FROM billing_run WHERE organization_id = %(organization)s AND {base}
        UNION
        SELECT child.run_id, child.workflow_id FROM tree JOIN billing_run AS child
            ON child.organization_id = %(organization)s AND child.parent_run_id = tree.run_id
            AND child.parent_run_id <> ''
    ) SELECT run_id FROM tree WHERE {counted}))""")
_ALL_RUNS = sql.SQL("true")
_OF_OTHERS = sql.SQL("workflow_id <> {}")


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
    queries = [RollupQuery((RUN_SERVICE_DAYS,), (window,), _BY)]
    if workflow_id:
        rollup = WORKFLOW_TOTALS if window == ALWAYS else WORKFLOW_DAYS
        queries = [
            RollupQuery((rollup,), (window,), _BY, _folded_workflow(workflow_id)),
            RollupQuery((RUN_DAYS,), (window,), _BY, _runs_if_changed(workflow_id)),
        ]
        if include_children:
            queries.append(RollupQuery((RUN_DAYS,), (window,), _BY, _descendants_of_others(workflow_id)))
    rows = [sums for query_rows in read_sums(organization, *queries) for sums in query_rows]
    return _costs(rows, now)


def _one_run(run_id: str, include_children: bool) -> Condition:  # noqa: FBT001 - with the other
    def condition(parameters: Parameters) -> sql.Composable:
        base = _ONE_RUN.format(bind(parameters, run_id))
        return _WITH_DESCENDANTS.format(base=base, counted=_ALL_RUNS) if include_children else base

    return condition


def _folded_workflow(workflow_id: str) -> Condition:
    def condition(parameters: Parameters) -> sql.Composable:
        workflow = bind(parameters, workflow_id)
        return _FOLDED_WORKFLOW.format(workflow=workflow, has_changed=_HAS_CHANGED.format(workflow=workflow))

    return condition


def _runs_if_changed(workflow_id: str) -> Condition:
    def condition(parameters: Parameters) -> sql.Composable:
        workflow = bind(parameters, workflow_id)
        return _RUNS_IF_CHANGED.format(
            base=_OF_WORKFLOW.format(workflow), has_changed=_HAS_CHANGED.format(workflow=workflow)
        )

    return condition


def _descendants_of_others(workflow_id: str) -> Condition:
    """Return the condition of descendants that belong to another workflow or to none."""

    def condition(parameters: Parameters) -> sql.Composable:
        workflow = bind(parameters, workflow_id)
        return _WITH_DESCENDANTS.format(base=_OF_WORKFLOW.format(workflow), counted=_OF_OTHERS.format(workflow))

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
