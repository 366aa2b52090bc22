"""Per-value limits: which of their values are close to a threshold, and which must be checked again. Read-only.

A limit may have millions of values, so their hours are not all summed. `values_near_threshold` finds the values to
show: only values with an event since the window began, and with enough charges in total, can be close; only their hours
are summed. For the hour in which a rolling window begins all charges count, so the result may include values with less
spend, but never misses one. The exact amounts are computed by `billing.limits.status`.

`values_to_check` selects the values to enforce. A value is checked when it has new events, so that old sessions are not
checked again and again. All values are checked when a window begins or the limit has changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import sql

from billing.limits.cache import LimitSet, is_active, period_of
from billing.limits.limit_windows import ROLLING, window_span
from billing.limits.threshold_events import lowest_threshold_usd
from billing.limits.types import Rule
from billing.models import SpendLimit, ThresholdEvent
from billing.rollups.definitions import AMOUNT_SQL, SCOPES_OF_EVENT
from billing.rollups.sql import OF_UNFOLDED
from billing.types import LimitWindow, OverrideKind
from costtrack.clock import EPOCH
from costtrack.database.queries import fetch_rows
from costtrack.money import ZERO
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class ValuesNearThreshold:
    """`values` (as rollups store them) are the first ones by spend, the highest first. `near` is their total number,
    and `used` the number of values with events since the window began."""

    values: tuple[str, ...]
    near: int
    used: int


# Rows of (position, value, cost, charged) of unfolded events; unpriced ones count at the limit's fallback price.
_TAIL = sql.SQL("""
SELECT requested.position, event_scope.value, sum({amount}) AS cost, sum(greatest({amount}, 0)) AS charged
FROM {unfolded} {scopes} JOIN requested ON requested.scope = event_scope.scope AND event.occurred_at >= requested.start
WHERE batch.organization_id = %(organization)s AND batch.folded_at IS NULL
GROUP BY requested.position, event_scope.value
""").format(amount=sql.SQL(AMOUNT_SQL), unfolded=OF_UNFOLDED, scopes=sql.SQL(SCOPES_OF_EVENT))
_UNPRICED = sql.SQL("""
UNION ALL
SELECT position, value, sum(tokens) * fallback / 1000000, sum(tokens) * fallback / 1000000 FROM (
    SELECT requested.position, requested.fallback, event_scope.value,
        event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens AS tokens
    FROM billing_unpricedevent AS unpriced_event
    JOIN billing_usageevent AS event ON event.organization_id = %(organization)s AND event.id = unpriced_event.event_id
    {scopes} JOIN requested ON requested.scope = event_scope.scope AND event.occurred_at >= requested.start
        AND requested.fallback > 0
    WHERE unpriced_event.organization_id = %(organization)s
) AS unpriced GROUP BY position, fallback, value
""").format(scopes=sql.SQL(SCOPES_OF_EVENT))

# Events received a day before they occur are refused, even if the clocks of the servers differ.
_QUERY = sql.SQL("""
WITH requested AS MATERIALIZED (
    SELECT given.*, date_trunc('hour', given.start, 'UTC') AS edge,
        date_trunc('hour', given.start + interval '1 hour' - interval '1 microsecond', 'UTC') AS first_hour
    FROM unnest(%(scopes)s::text[], %(starts)s::timestamptz[], %(minimums)s::numeric[], %(fallbacks)s::numeric[])
        WITH ORDINALITY AS given (scope, start, minimum, fallback, position)
), unfolded AS MATERIALIZED (
    SELECT position, value, sum(cost) AS cost, sum(charged) AS charged FROM ({tail}) AS tail GROUP BY position, value
), used AS MATERIALIZED (
    SELECT position, value, sum(charged) AS charged FROM (
        SELECT requested.position, total.value, total.charged_usd AS charged
        FROM requested JOIN billing_scopetotal AS total ON total.organization_id = %(organization)s
            AND total.scope = requested.scope AND total.last_received_at >= requested.start - interval '1 day'
        UNION ALL SELECT position, value, charged FROM unfolded
    ) AS charges GROUP BY position, value
), spent AS MATERIALIZED (
    SELECT requested.position, used.value, coalesce(folded.cost, 0) + coalesce(unfolded.cost, 0) AS usd
    FROM requested JOIN used ON used.position = requested.position AND used.charged >= requested.minimum
    LEFT JOIN unfolded ON unfolded.position = used.position AND unfolded.value = used.value
    CROSS JOIN LATERAL (
        SELECT CASE WHEN requested.start = '-infinity' THEN (
            SELECT sum(total.cost_usd) FROM billing_scopetotal AS total
            WHERE total.organization_id = %(organization)s AND total.scope = requested.scope
                AND total.value = used.value
        ) ELSE (
            SELECT sum(CASE WHEN hourly.hour >= requested.first_hour THEN hourly.cost_usd ELSE hourly.charged_usd END)
            FROM billing_scopehour AS hourly
            WHERE hourly.organization_id = %(organization)s AND hourly.scope = requested.scope
                AND hourly.value = used.value AND hourly.hour >= requested.edge
        ) END AS cost
    ) AS folded
)
SELECT (SELECT count(*) FROM used WHERE used.position = requested.position),
    (SELECT count(*) FROM spent WHERE spent.position = requested.position AND spent.usd >= requested.minimum),
    ARRAY(
        SELECT value FROM spent WHERE spent.position = requested.position AND spent.usd >= requested.minimum
        ORDER BY usd DESC, value LIMIT %(max_values)s
    )
FROM requested ORDER BY requested.position
""")


def lowest_of_values(limit: SpendLimit, rule: Rule) -> Decimal:
    """Return the lowest spend with which any value of the limit reaches a threshold. `rule` is for all values."""
    amounts_usd = [rule.amount_usd, *map(Decimal, limit.member_amounts.values())]
    return min(lowest_threshold_usd(replace(rule, amount_usd=amount_usd)) for amount_usd in amounts_usd)


def values_near_threshold(
    *, organization: Organization, limit: SpendLimit, at_least_usd: Decimal, now: datetime, max_values: int
) -> list[str]:
    """Return the values, as rollups store them, that may have spent `at_least_usd` in the limit's window.

    The value with the highest spend comes first.
    """
    limit_minimums = [(limit, at_least_usd)]
    (found,) = list_values_near_threshold(
        organization=organization, limit_minimums=limit_minimums, now=now, max_values=max_values
    )
    return list(found.values)


def list_values_near_threshold(
    *, organization: Organization, limit_minimums: Sequence[tuple[SpendLimit, Decimal]], now: datetime, max_values: int
) -> list[ValuesNearThreshold]:
    """Find the values of several limits at once, each with its own minimum amount; the result is in their order."""
    if not limit_minimums:
        return []
    limits = [limit for limit, _ in limit_minimums]
    fallbacks = [limit.fallback_price or ZERO for limit in limits]
    parameters: dict[str, Any] = {
        "organization": organization.pk,
        "scopes": [limit.rows_scope for limit in limits],
        "starts": [_start(organization, limit, now) for limit in limits],
        "minimums": [minimum_usd for _, minimum_usd in limit_minimums],
        "fallbacks": fallbacks,
        "max_values": max_values,
    }
    tail = _TAIL + _UNPRICED if any(fallbacks) else _TAIL
    rows = fetch_rows(_QUERY.format(tail=tail), parameters)
    return [ValuesNearThreshold(tuple(values), near, used) for used, near, values in rows]


def _start(organization: Organization, limit: SpendLimit, now: datetime) -> str:
    start = _span_start(organization, limit, now)
    return start.isoformat() if start is not None else "-infinity"


def _span_start(organization: Organization, limit: SpendLimit, now: datetime) -> datetime | None:
    return window_span(LimitWindow(limit.window), organization.calendar, now, period_of(limit)).start


_COMMIT_DELAY = timedelta(minutes=5)
"""How long after it was received an event may become visible: the maximum duration of its transaction."""

# A value's spend in any window is at most the total that it was ever charged.
_CANDIDATES = """
SELECT value FROM billing_livescopetotal
WHERE organization_id = %(organization)s AND scope = %(scope)s AND value IN (
    SELECT value FROM billing_livescopetotal
    WHERE organization_id = %(organization)s AND scope = %(scope)s AND last_received_at > %(since)s
)
GROUP BY value HAVING sum(charged_usd) >= %(lowest)s OR (%(has_fallback)s AND sum(unpriced) > 0)
"""


@dataclass(frozen=True, slots=True)
class LastCheck:
    """When the values of an organization were last checked, and the revision of its limits at that time."""

    at: datetime
    revision: int


def values_to_check(
    *, organization: Organization, all_limits: LimitSet, limit: SpendLimit, last: LastCheck | None, now: datetime
) -> list[str]:
    """Return the values (as rollups store them) to compare with their threshold events. `last` None: first check."""
    is_known = last is not None and last.revision == all_limits.revision
    if last is None or not is_known or _has_window_or_limit_changed(organization, all_limits, limit, last.at, now):
        since, include_open_events = EPOCH, True
    else:
        since = min(last.at, now) - _COMMIT_DELAY
        # Spend leaves a rolling window all the time; it is enough to check that every minute.
        is_rolling = limit.window in ROLLING
        include_open_events = is_rolling and now.replace(second=0, microsecond=0) > last.at
    values = _candidates(organization, all_limits, limit, since, now)
    values |= {
        override.value
        for override in all_limits.overrides.get(limit.pk, ())
        if override.value and override.kind == OverrideKind.PAUSE and is_active(override, override.value, now)
    }
    if include_open_events:
        is_open = ThresholdEvent.objects.of(organization).filter(limit=limit, resolved_at=None)
        values |= set(is_open.exclude(value="").values_list("value", flat=True))
    return sorted(values)


def _candidates(
    organization: Organization, all_limits: LimitSet, limit: SpendLimit, since: datetime, now: datetime
) -> set[str]:
    """Return values with events since then whose total charges are enough to reach a threshold."""
    for_all = all_limits.rule(limit.pk, "", now=now)
    if for_all is None:
        return set()
    parameters = {
        "organization": organization.pk,
        "scope": limit.rows_scope,
        "since": since,
        "lowest": lowest_of_values(limit, for_all),
        "has_fallback": limit.fallback_price is not None,
    }
    return {value for (value,) in fetch_rows(_CANDIDATES, parameters)}


def _has_window_or_limit_changed(
    organization: Organization, all_limits: LimitSet, limit: SpendLimit, last: datetime, now: datetime
) -> bool:
    """Whether a window, the limit or one of its overrides has begun or ended since the last check."""
    boundaries = [limit.starts_at]
    if limit.window not in ROLLING:
        boundaries.append(_span_start(organization, limit, now))
    for override in all_limits.overrides.get(limit.pk, ()):
        boundaries += [override.starts_at, override.ends_at]
    return any(boundary is not None and last < boundary <= now for boundary in boundaries)
