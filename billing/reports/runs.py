"""What workflow runs cost (document 002). Read-only.

Each run counts once, however often it is reached; a tree with a cycle ends like any other. Whole hours (or days, where
it matters whose run it is) come from rollups; what a window cuts off such a bucket comes from the ledger.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from psycopg import sql

from billing.models import Run
from billing.reports.buckets import DAY, HOUR, split
from billing.reports.types import RunCosts, Window
from costtrack.errors import NotFoundError
from costtrack.money import ZERO
from organizations.models import Organization

# Amounts without a service or a group go under this key, so that the groups always add up to their service.
UNNAMED = "default"

_SUMS = sql.SQL("""
SELECT service, cost_group, sum(amount), sum(unpriced) FROM ({}) AS cost
GROUP BY service, cost_group ORDER BY service, cost_group
""")
_BY_HOUR = sql.SQL("""
SELECT service, cost_group, token_cost_usd + compute_cost_usd AS amount, unpriced FROM billing_liverunhour AS cost
WHERE organization_id = %(organization)s
""")
_BY_RUN_AND_DAY = sql.SQL("""
SELECT service, cost_group, token_cost_usd + compute_cost_usd AS amount, unpriced FROM billing_liverunday AS cost
WHERE organization_id = %(organization)s
""")
# An index leaves out the events without a run; the condition on '' lets it serve.
_EVENTS = sql.SQL("""
SELECT service, coalesce(nullif(cost_group, ''), model) AS cost_group,
    coalesce(token_cost_usd, 0) + compute_cost_usd AS amount, unpriced
FROM billing_usageevent AS cost
WHERE organization_id = %(organization)s AND run_id <> ''
""")

_ALL_RUNS = sql.SQL("true")
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
    # No text in the database has a NUL, and PostgreSQL would not take the question.
    if "\0" in run_id or not Run.objects.of(organization).filter(run_id=run_id).exists():
        raise NotFoundError(f"Run {run_id} not found")
    runs = _WITH_DESCENDANTS.format(base=_BASE_RUN) if include_children else _ONE_RUN
    rows = sql.SQL("{} AND {}").format(_BY_RUN_AND_DAY, runs)
    return _sum_up(organization, [rows], {"run": run_id}, now)


def costs_of_runs(
    *, organization: Organization, workflow_id: str | None, window: Window, include_children: bool, now: datetime
) -> RunCosts:
    """All runs, or those of a workflow; with `include_children` also all their descendants, of any workflow. The
    window applies to every cost that is counted."""
    parameters: dict[str, Any] = {"workflow": workflow_id}
    if not workflow_id:
        rows = _in_window(_BY_HOUR, "hour", HOUR, _ALL_RUNS, window, parameters)
    else:
        runs = _WITH_DESCENDANTS.format(base=_BASE_WORKFLOW) if include_children else _RUNS_OF_WORKFLOW
        rows = _in_window(_BY_RUN_AND_DAY, "day", DAY, runs, window, parameters)
    return _sum_up(organization, rows, parameters, now)


def _in_window(
    rollup: sql.SQL, bucket: str, size: timedelta, runs: sql.Composable, window: Window, parameters: dict[str, Any]
) -> Iterator[sql.Composable]:
    """SELECTs that together have the runs' costs in the window; adds its instants to the parameters."""
    parts = split(window, size)
    sources = [(rollup, bucket, parts.whole)] if parts.whole is not None else []
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


def _sum_up(
    organization: Organization, rows: Iterable[sql.Composable], parameters: dict[str, Any], now: datetime
) -> RunCosts:
    by_service: dict[str, Decimal] = {}
    by_group: dict[str, dict[str, Decimal]] = {}
    unpriced_events = 0
    with connection.cursor() as cursor:
        cursor.execute(_SUMS.format(sql.SQL(" UNION ALL ").join(rows)), {"organization": organization.pk, **parameters})
        for service, group, amount, unpriced in cursor.fetchall():
            name = service or UNNAMED
            by_service[name] = by_service.get(name, ZERO) + amount
            groups = by_group.setdefault(name, {})
            groups[group or UNNAMED] = groups.get(group or UNNAMED, ZERO) + amount
            unpriced_events += int(unpriced)
    return RunCosts(sum(by_service.values(), ZERO), by_service, by_group, unpriced_events, as_of=now)
