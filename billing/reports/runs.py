"""What workflow runs cost (document 002). Read-only.

Each run counts once, however often it is reached; a tree with a cycle ends like any other.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from psycopg import sql

from billing.models import Run
from billing.reports.types import RunCosts, Window
from costtrack.errors import NotFoundError
from costtrack.money import ZERO
from organizations.models import Organization

# Amounts without a service or a group go under this key, so that the groups always add up to their service.
UNNAMED = "default"

# The events of a run are found by a partial index that leaves out those without one; the conditions on '' let it serve.
_SUMS = sql.SQL("""
SELECT event.service, coalesce(nullif(event.cost_group, ''), event.model) AS grouping,
    sum(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd),
    count(*) FILTER (WHERE event.token_cost_usd IS NULL AND EXISTS (
        SELECT FROM billing_unpricedevent AS waiting
        WHERE waiting.organization_id = event.organization_id AND waiting.event_id = event.id
    ))
FROM billing_usageevent AS event
WHERE event.organization_id = %(organization)s AND event.run_id <> '' AND {runs}
    AND (%(start)s::timestamptz IS NULL OR event.occurred_at >= %(start)s)
    AND (%(end)s::timestamptz IS NULL OR event.occurred_at < %(end)s)
GROUP BY event.service, grouping
ORDER BY event.service, grouping
""")

_ALL_RUNS = sql.SQL("true")
_ONE_RUN = sql.SQL("event.run_id = %(run)s")
_RUNS_OF_WORKFLOW = sql.SQL(
    "event.run_id IN (SELECT run_id FROM billing_run"
    " WHERE organization_id = %(organization)s AND workflow_id = %(workflow)s AND workflow_id <> '')"
)
# UNION (not UNION ALL) drops runs that were reached before: this ends cycles and counts shared descendants once.
_WITH_DESCENDANTS = sql.SQL("""event.run_id IN (
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
    return _sum_up(organization, runs, {"run": run_id}, Window(), now)


def costs_of_runs(
    *, organization: Organization, workflow_id: str | None, window: Window, include_children: bool, now: datetime
) -> RunCosts:
    """All runs, or those of a workflow; with `include_children` also all their descendants, of any workflow. The
    window applies to every cost that is counted."""
    if not workflow_id:
        runs: sql.Composable = _ALL_RUNS
    elif include_children:
        runs = _WITH_DESCENDANTS.format(base=_BASE_WORKFLOW)
    else:
        runs = _RUNS_OF_WORKFLOW
    return _sum_up(organization, runs, {"workflow": workflow_id}, window, now)


def _sum_up(
    organization: Organization, runs: sql.Composable, parameters: dict[str, Any], window: Window, now: datetime
) -> RunCosts:
    by_service: dict[str, Decimal] = {}
    by_group: dict[str, dict[str, Decimal]] = {}
    unpriced_events = 0
    with connection.cursor() as cursor:
        cursor.execute(
            _SUMS.format(runs=runs),
            {"organization": organization.pk, "start": window.start, "end": window.end, **parameters},
        )
        for service, group, amount, unpriced in cursor.fetchall():
            name = service or UNNAMED
            by_service[name] = by_service.get(name, ZERO) + amount
            groups = by_group.setdefault(name, {})
            groups[group or UNNAMED] = groups.get(group or UNNAMED, ZERO) + amount
            unpriced_events += unpriced
    return RunCosts(sum(by_service.values(), ZERO), by_service, by_group, unpriced_events, as_of=now)
