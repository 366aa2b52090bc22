"""What workflow runs cost (document 002). Read-only.

Each run counts once, however often it is reached; a tree with a cycle ends like any other. Whole days come from
rollups; what a window cuts off a day comes from the ledger.
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
# SELECTs of costs, from a rollup's table or view; they add what they take to the parameters.
Rows = Callable[[sql.Identifier, Parameters], Iterable[sql.Composable]]


class _Row(NamedTuple):
    """Costs of one service and group."""

    has_unfolded: bool
    service: str
    group: str
    amount: Decimal
    unpriced: int


# Amounts without a service or a group go under this key, so that the groups always add up to their service.
UNNAMED = "default"

# What these rows add up to, and whether something is not folded yet: without costs there is no row to say so.
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
# An index leaves out the events without a run; the condition on '' lets it serve.
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
# UNION (not UNION ALL) drops runs that were reached before: this ends cycles and counts shared descendants once.
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


def costs_of_run(*, organization: Organization, run_id: str, include_children: bool, now: datetime) -> RunCosts:
    """One run, alone or with all its descendants. Raises NotFoundError for a run nobody has named."""
    runs = _WITH_DESCENDANTS.format(base=_BASE_RUN) if include_children else _ONE_RUN

    def rows(table: sql.Identifier, parameters: Parameters) -> Iterable[sql.Composable]:
        parameters["run"] = run_id
        yield sql.SQL("{} AND {}").format(_ROLLED_UP.format(table), runs)

    # No text in the database has a NUL, and PostgreSQL would not take the question.
    costs = _sum_up(organization, RUN_DAYS, rows, now, run_id) if "\0" not in run_id else None
    if costs is None:
        raise NotFoundError(f"Run {run_id} not found")
    return costs


def costs_of_runs(
    *, organization: Organization, workflow_id: str | None, window: Window, include_children: bool, now: datetime
) -> RunCosts:
    """All runs, or those of a workflow; with `include_children` also all their descendants, of any workflow. The
    window applies to every cost that is counted."""
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
    """SELECTs that together have the runs' costs in the window; adds its instants to the parameters."""
    parts = split(window, DAY)
    sources: list[tuple[sql.Composable, str, Window]] = []
    if parts.whole is not None:
        sources.append((rolled_up, "day", parts.whole))
    sources += [(_EVENTS, "occurred_at", edge) for edge in parts.edges]
    for number, (source, column, part) in enumerate(sources):
        conditions = [source, runs]
        for sign, side, instant in ((">=", "start", part.start), ("<", "end", part.end)):
            if instant is not None:
                name = f"{side}_{number}"
                parameters[name] = instant.date() if column == "day" else instant
                conditions.append(
                    sql.SQL("{} {} {}").format(sql.Identifier(column), sql.SQL(sign), sql.Placeholder(name))
                )
        yield sql.SQL(" AND ").join(conditions)


def _sum_up(organization: Organization, rollup: Rollup, rows: Rows, now: datetime, run_id: str = "") -> RunCosts | None:
    """What the rows add up to; None if they are about a run that is not known. Asks the rollup's table first, and its
    view only if something waits to be folded (`billing.reports.live_rollups`)."""
    found = _ask(organization, table_of(rollup, has_unfolded=False), rows)
    if not found:
        # Asked before the rows, and not after them: what is folded in between must not be missing.
        has_unfolded, is_known = _state(organization, run_id)
        if run_id and not is_known:
            return None
        found = _ask(organization, table_of(rollup, has_unfolded=has_unfolded), rows)
    elif found[0].has_unfolded:
        found = _ask(organization, table_of(rollup, has_unfolded=True), rows)
    by_service: dict[str, Decimal] = {}
    by_group: dict[str, dict[str, Decimal]] = {}
    for row in found:
        service, group = row.service or UNNAMED, row.group or UNNAMED
        by_service[service] = by_service.get(service, ZERO) + row.amount
        groups = by_group.setdefault(service, {})
        groups[group] = groups.get(group, ZERO) + row.amount
    unpriced_events = sum(int(row.unpriced) for row in found)
    return RunCosts(sum(by_service.values(), ZERO), by_service, by_group, unpriced_events, as_of=now)


def _ask(organization: Organization, table: sql.Identifier, rows: Rows) -> list[_Row]:
    parameters: Parameters = {"organization": organization.pk}
    selects = sql.SQL(" UNION ALL ").join(rows(table, parameters))
    with connection.cursor() as cursor:
        cursor.execute(_SUMS.format(has_unfolded=HAS_UNFOLDED, rows=selects), parameters)
        return [_Row(*row) for row in cursor.fetchall()]


def _state(organization: Organization, run_id: str) -> tuple[bool, bool]:
    """Whether something waits to be folded, and whether there is such a run."""
    with connection.cursor() as cursor:
        cursor.execute(_STATE, {"organization": organization.pk, "run": run_id})
        has_unfolded, is_known = cursor.fetchone()
    return has_unfolded, is_known
