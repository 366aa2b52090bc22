"""Of limits that every value has for itself: the values whose spend may have come near. Read-only.

There may be millions of users or runs, so they are not all added up. Only a value that something was received of since
the window began can have spent in it, and never more than all that it was ever charged: that leaves few, and only their
hours are added up. Of the hour in which a rolling window begins, all that was charged counts: so some of those found
may have spent less, and none that is near is missing. How much exactly `billing.limits.status` tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from psycopg import sql

from billing.limits.evaluate import span_of
from billing.models import SpendLimit
from billing.rollups.definitions import SCOPES_OF_EVENT
from billing.rollups.sql import OF_UNFOLDED
from billing.types import LimitWindow
from costtrack.money import ZERO
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class ValuesNearThreshold:
    """`values` (as rollups keep them) are the first ones, those that spent most come first; `near` is how many there
    are, and `used` how many something was received of since the window began."""

    values: tuple[str, ...]
    near: int
    used: int


# Rows of (place, value, cost, charged). The tail is what is not folded; what has no price costs the limit's own.
_TAIL = sql.SQL("""
SELECT asked.place, part.value, sum(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd) AS cost,
    sum(greatest(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd, 0)) AS charged
FROM {unfolded} {scopes} JOIN asked ON asked.scope = part.scope AND event.occurred_at >= asked.start
WHERE batch.organization_id = %(organization)s AND batch.folded_at IS NULL
GROUP BY asked.place, part.value
""").format(unfolded=OF_UNFOLDED, scopes=sql.SQL(SCOPES_OF_EVENT))
_UNPRICED = sql.SQL("""
UNION ALL
SELECT place, value, sum(tokens) * fallback / 1000000, sum(tokens) * fallback / 1000000 FROM (
    SELECT asked.place, asked.fallback, part.value,
        event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens AS tokens
    FROM billing_unpricedevent AS waiting
    JOIN billing_usageevent AS event ON event.organization_id = %(organization)s AND event.id = waiting.event_id
    {scopes} JOIN asked ON asked.scope = part.scope AND event.occurred_at >= asked.start AND asked.fallback > 0
    WHERE waiting.organization_id = %(organization)s
) AS unpriced GROUP BY place, fallback, value
""").format(scopes=sql.SQL(SCOPES_OF_EVENT))

# What is received a day before it occurs is refused, whatever the clocks of several servers say.
_QUESTION = sql.SQL("""
WITH asked AS MATERIALIZED (
    SELECT told.*, date_trunc('hour', told.start, 'UTC') AS edge,
        date_trunc('hour', told.start + interval '1 hour' - interval '1 microsecond', 'UTC') AS first_hour
    FROM unnest(%(scopes)s::text[], %(starts)s::timestamptz[], %(least)s::numeric[], %(fallbacks)s::numeric[])
        WITH ORDINALITY AS told (scope, start, least, fallback, place)
), unfolded AS MATERIALIZED (
    SELECT place, value, sum(cost) AS cost, sum(charged) AS charged FROM ({tail}) AS tail GROUP BY place, value
), used AS MATERIALIZED (
    SELECT place, value, sum(charged) AS charged FROM (
        SELECT asked.place, kept.value, kept.charged_usd AS charged
        FROM asked JOIN billing_scopetotal AS kept ON kept.organization_id = %(organization)s
            AND kept.scope = asked.scope AND kept.last_received_at >= asked.start - interval '1 day'
        UNION ALL SELECT place, value, charged FROM unfolded
    ) AS met GROUP BY place, value
), spent AS MATERIALIZED (
    SELECT asked.place, used.value, coalesce(folded.cost, 0) + coalesce(unfolded.cost, 0) AS usd
    FROM asked JOIN used ON used.place = asked.place AND used.charged >= asked.least
    LEFT JOIN unfolded ON unfolded.place = used.place AND unfolded.value = used.value
    CROSS JOIN LATERAL (
        SELECT CASE WHEN asked.start = '-infinity' THEN (
            SELECT sum(kept.cost_usd) FROM billing_scopetotal AS kept
            WHERE kept.organization_id = %(organization)s AND kept.scope = asked.scope AND kept.value = used.value
        ) ELSE (
            SELECT sum(CASE WHEN kept.hour >= asked.first_hour THEN kept.cost_usd ELSE kept.charged_usd END)
            FROM billing_scopehour AS kept
            WHERE kept.organization_id = %(organization)s AND kept.scope = asked.scope AND kept.value = used.value
                AND kept.hour >= asked.edge
        ) END AS cost
    ) AS folded
)
SELECT (SELECT count(*) FROM used WHERE used.place = asked.place),
    (SELECT count(*) FROM spent WHERE spent.place = asked.place AND spent.usd >= asked.least),
    ARRAY(
        SELECT value FROM spent WHERE spent.place = asked.place AND spent.usd >= asked.least
        ORDER BY usd DESC, value LIMIT %(most)s
    )
FROM asked ORDER BY asked.place
""")
_EVER = "-infinity"


def values_near_threshold(
    *, organization: Organization, limit: SpendLimit, at_least_usd: Decimal, now: datetime, most: int
) -> list[str]:
    """The values, as rollups keep them, that may have spent so much in the limit's window; who spent most comes
    first."""
    limit_minimums = [(limit, at_least_usd)]
    (found,) = list_values_near_threshold(organization=organization, limit_minimums=limit_minimums, now=now, most=most)
    return list(found.values)


def list_values_near_threshold(
    *, organization: Organization, limit_minimums: Sequence[tuple[SpendLimit, Decimal]], now: datetime, most: int
) -> list[ValuesNearThreshold]:
    """The same for several limits at once, each with its own least amount, in their order."""
    if not limit_minimums:
        return []
    limits = [limit for limit, _ in limit_minimums]
    fallbacks = [limit.fallback_price or ZERO for limit in limits]
    parameters: dict[str, Any] = {
        "organization": organization.pk,
        "scopes": [limit.scope for limit in limits],
        "starts": [_start(organization, limit, now) for limit in limits],
        "least": [least_usd for _, least_usd in limit_minimums],
        "fallbacks": fallbacks,
        "most": most,
    }
    tail = _TAIL + _UNPRICED if any(fallbacks) else _TAIL
    with connection.cursor() as cursor:
        cursor.execute(_QUESTION.format(tail=tail), parameters)
        return [ValuesNearThreshold(tuple(values), near, used) for used, near, values in cursor.fetchall()]


def _start(organization: Organization, limit: SpendLimit, now: datetime) -> str:
    start = span_of(LimitWindow(limit.window), organization.calendar, now).start
    return start.isoformat() if start is not None else _EVER
