"""Model calls with the most expensive first: for the question what a span of time cost so much for. Read-only.

No index of the ledger has the cost, which corrections change anyway. So each event of the span is looked at, along the
index on time, and a span with more calls than `MAX_SORTED` is not sorted.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from psycopg import sql

from billing.reports.bucketed_query import Parameters
from billing.reports.usage.calls import Call, CallFilter, condition_of, first_id, told
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.series import totals
from costtrack.calendar import Span
from organizations.models import Organization

MAX_SORTED = 100_000
"""Calls of a span, whatever a filter leaves of them."""


@dataclass(frozen=True, slots=True)
class Place:
    """A call's place in the list. Costs are what is known of them; calls that cost the same are newest first."""

    known_usd: Decimal
    occurred_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class CallsByCostPage:
    """Calls, and the place to go on from; None: there are no more."""

    calls: list[Call]
    last: Place | None


# An adjustment bears the time of its event, so it is in the same span.
_DEAREST = sql.SQL("""
SELECT * FROM (
    SELECT event.*, coalesce(token_cost_usd, 0) + compute_cost_usd + coalesce(adjusted_usd, 0) AS known_usd
    FROM billing_usageevent AS event LEFT JOIN (
        SELECT adjusts AS adjusted_id, sum(coalesce(token_cost_usd, 0) + compute_cost_usd) AS adjusted_usd
        FROM billing_usageevent WHERE {within} AND kind = 'adjustment' GROUP BY adjusts
    ) AS adjusted ON adjusted_id = event.id
    WHERE {within} AND kind = 'model_call' AND {condition}
) AS event
WHERE {behind}
ORDER BY known_usd DESC, occurred_at DESC, id DESC LIMIT %(enough)s
""")
_WITHIN = sql.SQL(
    "organization_id = %(organization)s AND id >= %(first_id)s AND occurred_at >= %(start)s AND occurred_at < %(end)s"
)
_BEHIND = sql.SQL("(known_usd, occurred_at, id) < (%(after_usd)s, %(after_at)s, %(after_id)s)")
_ANYWHERE = sql.SQL("true")
_IN_ORDER = sql.SQL("event.known_usd DESC, event.occurred_at DESC, event.id DESC")


def number_of_calls(*, organization: Organization, window: Span) -> int:
    """All of the organization's, as a rollup knows them: to be compared with `MAX_SORTED`."""
    (figures,) = totals(organization=organization, filters=UsageFilter(), windows=[window])
    return figures.requests


def most_expensive_calls(
    *, organization: Organization, filters: CallFilter, after: Place | None, limit: int
) -> CallsByCostPage:
    """Calls, the most expensive first, from just after a place on. Reads every event of the window."""
    window = filters.window
    parameters: Parameters = {
        "organization": organization.pk,
        "start": window.start,
        "end": window.end,
        "first_id": first_id(window.start),
        "enough": limit + 1,
    }
    condition = condition_of(filters, parameters)
    if after is not None:
        parameters |= {"after_usd": after.known_usd, "after_at": after.occurred_at, "after_id": after.id}
    behind = _BEHIND if after is not None else _ANYWHERE
    found = told(_DEAREST.format(within=_WITHIN, condition=condition, behind=behind), _IN_ORDER, parameters)
    page = found[:limit]
    last = Place(page[-1].known_usd, page[-1].occurred_at, page[-1].id) if len(found) > limit else None
    return CallsByCostPage(page, last)
