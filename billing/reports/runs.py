"""Cost of workflow runs (document 002). Read-only.

Each run counts once, however often it is reached, so cycles are harmless. Whole days come from rollups, the rest of a
window from the ledger.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection
from psycopg import sql

from billing.reports.buckets import DAY, split
from billing.reports.live_rollups import HAS_UNFOLDED, table_of
from billing.reports.types import RunCosts, Window
from billing.rollups.definitions import RUN_DAYS, RUN_SERVICE_DAYS, Rollup
from costtrack.errors import NotFoundError
from costtrack.money import ZERO
from organizations.models import Organization

Parameters = dict[str, Any]
# Builds SELECTs of costs from a table or view of a rollup, and adds their parameters.
RowSelects = Callable[[sql.Identifier, Parameters], Iterable[sql.Composable]]


class _GroupCost(NamedTuple):
    """Cost of one service and group."""

    has_unfolded: bool
    service: str
    group: str
    amount: Decimal
    unpriced: int


# Amounts without a service or a group use this key, so that groups always add up to their service.
DEFAULT_NAME = "default"

# The sums, and whether there are unfolded batches; without costs there is no row.
_SUMS = sql.SQL("""
SELECT {has_unfolded}, service, cost_group, sum(amount), sum(unpriced)
FROM ({rows}) AS cost GROUP BY service, cost_group
ORDER BY service, cost_group
""")
_STATE = sql.SQL("""
SELECT {has_unfolded}, EXISTS (SELECT FROM billing_run WHERE organization_id = %(organization)s AND run_id = %(run)s)
""").format(has_unfolded=HAS_UNFOLDED)
_ROLLED_UP = sql.SQL("""
SELECT service, cost_group, token_cost_usd + compute_cost_usd AS amount, unpriced FROM {} AS cost
WHERE organization_id = %(organization)s
""")
# The condition on '' matches the partial index.
_EVENTS = sql.SQL("""
SELECT service, coalesce(nullif(cost_group, ''), model) AS cost_group,
    coalesce(token_cost_usd, 0) + compute_cost_usd AS amount, unpriced
FROM billing_usageevent AS cost
WHERE organization_id = %(organization)s AND run_id <> ''
""")

_ALL_RUNS: sql.Composable = sql.SQL("true")
_ONE_RUN = sql.SQL("cost.run_id = %(run)s")
_RUNS_OF_WORKFLOW = sql.SQL(
    "cost.run_id IN (SELECT run_id FROM billing_run"
    " WHERE organization_id = %(organization)s AND workflow_id = %(workflow)s AND workflow_id <> '')"
)
# UNION (not UNION ALL) drops runs that were already reached, which ends cycles and counts shared descendants once.
_WITH_DESCENDANTS = sql.SQL("""cost.run_id IN (
    WITH RECURSIVE tree (run_id) AS (
        SELECT run_id FROM billing_run WHERE organization_id = %(organization)s AND {base}
        UNION
        SELECT child.run_id FROM tree JOIN billing_run AS child
            ON child.organization_id = %(organization)s AND child.parent_run_id = tree.run_id
            AND child.parent_run_id <> ''
    ) SELECT run_id FROM tree)""")
_BASE_RUN = sql.SQL("run_id = %(run)s")
_BASE_WORKFLOW = sql.SQL("workflow_id = %(workflow)s AND workflow_id <> ''")


def get_run_costs(*, organization: Organization, run_id: str, include_children: bool, now: datetime) -> RunCosts:
    """Return the cost of one run, alone or with all its descendants. Raises NotFoundError for an unknown run."""
    runs = _WITH_DESCENDANTS.format(base=_BASE_RUN) if include_children else _ONE_RUN

    def rows(table: sql.Identifier, parameters: Parameters) -> Iterable[sql.Composable]:
        parameters["run"] = run_id
        yield sql.SQL("{} AND {}").format(_ROLLED_UP.format(table), runs)

    # PostgreSQL text cannot contain NUL.
    costs = _sum_up(organization, RUN_DAYS, rows, now, run_id) if "\0" not in run_id else None
    if costs is None:
        raise NotFoundError(f"Run {run_id} not found")
    return costs


def get_total_run_costs(
    *, organization: Organization, workflow_id: str | None, window: Window, include_children: bool, now: datetime
) -> RunCosts:
    """Return the cost of all runs or of a workflow. `include_children` adds all descendants, of any workflow. The
    window applies to every counted cost."""
    rollup, runs = RUN_SERVICE_DAYS, _ALL_RUNS
    if workflow_id:
        rollup = RUN_DAYS
        runs = _WITH_DESCENDANTS.format(base=_BASE_WORKFLOW) if include_children else _RUNS_OF_WORKFLOW

    def rows(table: sql.Identifier, parameters: Parameters) -> Iterable[sql.Composable]:
        parameters["workflow"] = workflow_id
        return _in_window(_ROLLED_UP.format(table), runs, window, parameters)

    return _sum_up(organization, rollup, rows, now) or RunCosts(ZERO, {}, {}, 0, as_of=now)


def _in_window(
    rolled_up: sql.Composable, runs: sql.Composable, window: Window, parameters: Parameters
) -> Iterator[sql.Composable]:
    """Build the SELECTs of the cost in the window; its instants are added to the parameters."""
    pieces = split(window, DAY)
    sources: list[tuple[sql.Composable, str, Window]] = []
    if pieces.buckets is not None:
        sources.append((rolled_up, "day", pieces.buckets))
    sources += [(_EVENTS, "occurred_at", edge) for edge in pieces.edges]
    for number, (source, column, piece) in enumerate(sources):
        conditions = [source, runs]
        for sign, side, instant in ((">=", "start", piece.start), ("<", "end", piece.end)):
            if instant is not None:
                name = f"{side}_{number}"
                parameters[name] = instant.date() if column == "day" else instant
                conditions.append(
                    sql.SQL("{} {} {}").format(sql.Identifier(column), sql.SQL(sign), sql.Placeholder(name))
                )
        yield sql.SQL(" AND ").join(conditions)


def _sum_up(
    organization: Organization, rollup: Rollup, selects: RowSelects, now: datetime, run_id: str = ""
) -> RunCosts | None:
    """Sum the rows. Returns None for an unknown run. Reads the table of the rollup first, and its view only if there
    are unfolded batches (`billing.reports.live_rollups`)."""
    costs = _fetch(organization, table_of(rollup, has_unfolded=False), selects)
    if not costs:
        # Checked before the rows are read: what is folded in between must not be missing.
        has_unfolded, is_known = _fetch_state(organization, run_id)
        if run_id and not is_known:
            return None
        costs = _fetch(organization, table_of(rollup, has_unfolded=has_unfolded), selects)
    elif costs[0].has_unfolded:
        costs = _fetch(organization, table_of(rollup, has_unfolded=True), selects)
    by_service: dict[str, Decimal] = {}
    by_group: dict[str, dict[str, Decimal]] = {}
    for row in costs:
        service, group = row.service or DEFAULT_NAME, row.group or DEFAULT_NAME
        by_service[service] = by_service.get(service, ZERO) + row.amount
        groups = by_group.setdefault(service, {})
        groups[group] = groups.get(group, ZERO) + row.amount
    unpriced_events = sum(int(row.unpriced) for row in costs)
    return RunCosts(sum(by_service.values(), ZERO), by_service, by_group, unpriced_events, as_of=now)


def _fetch(organization: Organization, table: sql.Identifier, selects: RowSelects) -> list[_GroupCost]:
    parameters: Parameters = {"organization": organization.pk}
    union = sql.SQL(" UNION ALL ").join(selects(table, parameters))
    with connection.cursor() as cursor:
        cursor.execute(_SUMS.format(has_unfolded=HAS_UNFOLDED, rows=union), parameters)
        return [_GroupCost(*row) for row in cursor.fetchall()]


def _fetch_state(organization: Organization, run_id: str) -> tuple[bool, bool]:
    """Return whether there are unfolded batches, and whether the run exists."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE, {"organization": organization.pk, "run": run_id})
        has_unfolded, is_known = cursor.fetchone()
    return has_unfolded, is_known
