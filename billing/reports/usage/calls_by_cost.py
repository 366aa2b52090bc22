"""Model calls of a time span, the most expensive first. Read-only.

No index has the cost, which adjustments change anyway. So every event of the span is read by the time index, and
spans with more than `MAX_SORTED` calls are not sorted.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from psycopg import sql

from billing.reports.bucketed_query import Parameters
from billing.reports.usage.calls import Call, CallFilter, call_condition, first_id, select_calls
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.series import totals
from costtrack.calendar import Span
from organizations.models import Organization

MAX_SORTED = 100_000
"""The most calls of a span, before filters."""


@dataclass(frozen=True, slots=True)
class CostPosition:
    """The position of a call in the list. Costs are the known part; ties are newest first."""

    known_usd: Decimal
    occurred_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class CallsByCostPage:
    """A page of calls. `last` is the position to continue after, or None on the last page."""

    calls: list[Call]
    last: CostPosition | None


# An adjustment has the time of its event, so it is in the same span.
_BY_COST = sql.SQL("""
SELECT * FROM (
    SELECT event.*, coalesce(token_cost_usd, 0) + compute_cost_usd + coalesce(adjusted_usd, 0) AS known_usd
    FROM billing_usageevent AS event LEFT JOIN (
        SELECT adjusts AS adjusted_id, sum(coalesce(token_cost_usd, 0) + compute_cost_usd) AS adjusted_usd
        FROM billing_usageevent WHERE {within} AND kind = 'adjustment' GROUP BY adjusts
    ) AS adjusted ON adjusted_id = event.id
    WHERE {within} AND kind = 'model_call' AND {condition}
) AS event
WHERE {after_position}
ORDER BY known_usd DESC, occurred_at DESC, id DESC LIMIT %(enough)s
""")
_WITHIN = sql.SQL(
    "organization_id = %(organization)s AND id >= %(first_id)s AND occurred_at >= %(start)s AND occurred_at < %(end)s"
)
_AFTER = sql.SQL("(known_usd, occurred_at, id) < (%(after_usd)s, %(after_at)s, %(after_id)s)")
_FROM_START = sql.SQL("true")
_IN_ORDER = sql.SQL("event.known_usd DESC, event.occurred_at DESC, event.id DESC")


def count_calls(*, organization: Organization, window: Span) -> int:
    """Count all calls of the organization from a rollup, to compare with `MAX_SORTED`."""
    (figures,) = totals(organization=organization, filters=UsageFilter(), windows=[window])
    return figures.requests


def most_expensive_calls(
    *, organization: Organization, filters: CallFilter, after: CostPosition | None, limit: int
) -> CallsByCostPage:
    """Return calls after a position, the most expensive first. Reads every event of the window."""
    window = filters.window
    parameters: Parameters = {
        "organization": organization.pk,
        "start": window.start,
        "end": window.end,
        "first_id": first_id(window.start),
        "enough": limit + 1,
    }
    condition = call_condition(filters, parameters)
    if after is not None:
        parameters |= {"after_usd": after.known_usd, "after_at": after.occurred_at, "after_id": after.id}
    after_position = _AFTER if after is not None else _FROM_START
    calls = select_calls(
        _BY_COST.format(within=_WITHIN, condition=condition, after_position=after_position),
        _IN_ORDER,
        parameters,
    )
    page = calls[:limit]
    last = CostPosition(page[-1].known_usd, page[-1].occurred_at, page[-1].id) if len(calls) > limit else None
    return CallsByCostPage(page, last)
