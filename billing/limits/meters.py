"""What has been spent under a limit and is held of it, exactly: what is folded, what is not yet, and the events of the
hours in which windows begin, which the rollup has only as wholes.

One statement reads one moment, so an event and the reservation that it settled are never both missing, nor both there.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg import sql

from billing.limits.evaluate import span_of
from billing.limits.types import Bucket, Hold, Reading, Rule
from billing.types import LimitScope
from costtrack.ids import ids_at
from organizations.models import Organization

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
# An event is received at most an hour before it occurred; a day leaves room for clocks that differ.
_RECEIVED_BEFORE = _DAY
_EVER = datetime(1970, 1, 1, tzinfo=UTC)

# Whether a row (of the ledger, or an authorization) belongs to a scope's value.
_MATCHES = {
    LimitScope.ORGANIZATION: "true",
    LimitScope.CREDENTIAL: "{row}.credential_id = {value}::bigint",
    LimitScope.USER: "{row}.user_ref = {value}",
    LimitScope.TAG: "{value} = ANY({row}.tags)",
    LimitScope.MODEL: "{row}.model = {value}",
    LimitScope.WORKFLOW: "{row}.workflow_id = {value}",
    LimitScope.RUN: "{row}.run_id = {value}",
    LimitScope.SESSION: "{row}.session_id = {value}",
}
_COST = "(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd)"
_TOKENS = "(event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens)"

# Rows of one rule: what kind of row, from when to when, how much; and how many events have no price.
_FOLDED = sql.SQL("""
SELECT {place}, 'spend', hour, hour + interval '1 hour', sum(cost_usd), sum(unpriced)::bigint FROM billing_scopehour
WHERE organization_id = %(organization)s AND scope = {scope} AND value = {value} AND hour >= {first_hour} GROUP BY hour
""")
# Over all time; the last day hour by hour, for forecasts.
_FOLDED_EVER = sql.SQL("""
SELECT {place}, 'spend', hour, hour + interval '1 hour', sum(cost_usd), 0::bigint FROM billing_scopehour
WHERE organization_id = %(organization)s AND scope = {scope} AND value = {value} AND hour >= %(yesterday)s GROUP BY hour
UNION ALL
SELECT {place}, 'spend', {start}, {start}, coalesce(sum(total.cost_usd), 0) - coalesce((
    SELECT sum(cost_usd) FROM billing_scopehour
    WHERE organization_id = %(organization)s AND scope = {scope} AND value = {value} AND hour >= %(yesterday)s
), 0), coalesce(sum(total.unpriced), 0)::bigint
FROM billing_scopetotal AS total
WHERE total.organization_id = %(organization)s AND total.scope = {scope} AND total.value = {value}
""")
_NOT_FOLDED = sql.SQL("""
SELECT {place}, 'spend', event.occurred_at, event.occurred_at, {cost}, event.unpriced::bigint
FROM billing_ingestbatch AS batch CROSS JOIN LATERAL (
    SELECT * FROM billing_usageevent AS row
    WHERE row.organization_id = %(organization)s AND row.id > %(first_batch)s
        AND row.id > batch.id AND row.id <= batch.last_event_id
    OFFSET 0
) AS event
WHERE batch.organization_id = %(organization)s AND batch.folded_at IS NULL
    AND event.occurred_at >= {first_hour} AND {matches_event}
""")
_BEFORE_FIRST_HOUR = sql.SQL("""
SELECT {place}, 'spend', event.occurred_at, event.occurred_at, {cost}, event.unpriced::bigint
FROM billing_usageevent AS event
WHERE event.organization_id = %(organization)s AND event.id >= {first_id}
    AND event.occurred_at >= {start} AND event.occurred_at < {first_hour} AND {matches_event}
""")
_AT_FALLBACK_PRICE = sql.SQL("""
SELECT {place}, 'spend', event.occurred_at, event.occurred_at, {tokens} * {fallback} / 1000000, 0::bigint
FROM billing_unpricedevent AS waiting
JOIN billing_usageevent AS event ON event.organization_id = %(organization)s AND event.id = waiting.event_id
WHERE waiting.organization_id = %(organization)s AND event.occurred_at >= {start} AND {matches_event}
""")
_HELD = sql.SQL("""
SELECT {place}, 'hold', held.expires_at, held.expires_at, held.amount_usd, 0::bigint FROM billing_authorization AS held
WHERE held.organization_id = %(organization)s AND held.status = 'reserved' AND held.expires_at > %(now)s
    AND {matches_held}
""")
# Planning a question to the ledger takes longer than most answers: it is asked only where something waits to be folded,
# and for what came since. Whether that was still so is read together with the answer.
_FIRST_WAITING = sql.SQL(
    "SELECT id FROM billing_ingestbatch WHERE organization_id = %(organization)s AND folded_at IS NULL"
    " ORDER BY id LIMIT 1"
)
_WITH_FIRST_WAITING = sql.SQL("""
SELECT row.*, NULL::uuid FROM ({rows}) AS row UNION ALL SELECT -1, 'first', NULL, NULL, NULL, NULL, ({first_waiting})
""")
# What each asked for has spent at every instant between two. `matches` is about a row `event` and a row `asked`.
_INSTANTS = """
SELECT asked.place, spent.at, sum(spent.usd)
FROM unnest(%(scopes)s::text[], %(values)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[],
    %(first_ids)s::uuid[], %(fallbacks)s::numeric[]) WITH ORDINALITY
    AS asked (scope, value, "start", "end", first_id, fallback, place)
CROSS JOIN LATERAL (
    SELECT event.occurred_at AS at, {cost} AS usd FROM billing_usageevent AS event
    WHERE event.organization_id = %(organization)s AND event.id >= asked.first_id
        AND event.occurred_at >= asked."start" AND event.occurred_at < asked."end" AND {matches}
    UNION ALL
    SELECT event.occurred_at, {tokens} * asked.fallback / 1000000 FROM billing_unpricedevent AS waiting
    JOIN billing_usageevent AS event ON event.organization_id = %(organization)s AND event.id = waiting.event_id
    WHERE waiting.organization_id = %(organization)s AND asked.fallback > 0
        AND event.occurred_at >= asked."start" AND event.occurred_at < asked."end" AND {matches}
) AS spent GROUP BY asked.place, spent.at
"""
_MATCHES_ASKED = "CASE asked.scope {} END".format(
    " ".join(
        f"WHEN '{scope.value}' THEN {matches.format(row='event', value='asked.value')}"
        for scope, matches in _MATCHES.items()
    )
)


def readings(*, organization: Organization, rules: Sequence[Rule], now: datetime) -> list[Reading]:
    """What the database says of each rule, in their order, all at one moment."""
    if not rules:
        return []
    spend: list[list[Bucket]] = [[] for _ in rules]
    holds: list[list[Hold]] = [[] for _ in rules]
    unpriced = [0] * len(rules)
    for place, kind, start, end, usd, without_price in _rows(organization, rules, now):
        if kind == "hold":
            holds[place].append(Hold(usd, end))
        else:
            spend[place].append(Bucket(start, end, usd))
            unpriced[place] += without_price
    return [Reading(tuple(sorted(spend[place])), tuple(holds[place]), unpriced[place]) for place in range(len(rules))]


def _rows(organization: Organization, rules: Sequence[Rule], now: datetime) -> list[Sequence[Any]]:
    """Asked again if a batch has come meanwhile that was begun before the first that waited."""
    while True:
        first_batch = _first_waiting(organization)
        parameters: dict[str, Any] = {
            "organization": organization.pk,
            "now": now,
            "yesterday": _full_hour(now - _DAY),
            "first_batch": first_batch,
        }
        selects = [_select(rule, place, organization, now, parameters) for place, rule in enumerate(rules)]
        statement = _WITH_FIRST_WAITING.format(rows=sql.SQL("UNION ALL").join(selects), first_waiting=_FIRST_WAITING)
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            *rows, (*_, waiting) = sorted(cursor.fetchall(), key=lambda row: row[1] == "first")
        if waiting is None or (first_batch is not None and first_batch <= waiting):
            return [row[:-1] for row in rows]


def taken_apart(*, organization: Organization, wanted: Sequence[tuple[Rule, Reading, Bucket]]) -> list[Reading]:
    """The same readings, each with one of its buckets taken apart into the instants at which the amounts were spent, in
    their order. (What was folded since they were read may be among them: so read again what must be of one moment.)"""
    parameters: dict[str, Any] = {
        "organization": organization.pk,
        "scopes": [rule.scope.value for rule, _, _ in wanted],
        "values": [rule.value for rule, _, _ in wanted],
        "starts": [bucket.start for _, _, bucket in wanted],
        "ends": [bucket.end for _, _, bucket in wanted],
        "first_ids": [ids_at(bucket.start - _RECEIVED_BEFORE)[0] for _, _, bucket in wanted],
        "fallbacks": [rule.fallback_price or Decimal(0) for rule, _, _ in wanted],
    }
    instants: list[list[Bucket]] = [[] for _ in wanted]
    with connection.cursor() as cursor:
        cursor.execute(_INSTANTS.format(cost=_COST, tokens=_TOKENS, matches=_MATCHES_ASKED), parameters)
        for place, at, usd in cursor.fetchall():
            instants[place - 1].append(Bucket(at, at, usd))
    return [_with(reading, bucket, found) for (_, reading, bucket), found in zip(wanted, instants, strict=True)]


def _with(reading: Reading, bucket: Bucket, instants: Sequence[Bucket]) -> Reading:
    others = [other for other in reading.spend if not bucket.start <= other.start < bucket.end]
    return Reading(tuple(sorted([*others, *instants])), reading.holds, reading.unpriced)


def _select(
    rule: Rule, place: int, organization: Organization, now: datetime, parameters: dict[str, Any]
) -> sql.Composed:
    """One rule's rows; its values become parameters of their own."""
    start = span_of(rule.window, organization.calendar, now).start
    given: Mapping[str, Any] = {
        "place": place,
        "scope": rule.scope.value,
        "value": rule.value,
        "start": start or _EVER,
        "first_hour": _full_hour(start) if start is not None else _EVER,
        "first_id": ids_at(start - _RECEIVED_BEFORE)[0] if start is not None else ids_at(now)[1],
        "fallback": rule.fallback_price or Decimal(0),
    }
    parameters |= {f"{name}{place}": value for name, value in given.items()}
    names: dict[str, sql.Composable] = {name: sql.Placeholder(f"{name}{place}") for name in given}
    matches = sql.SQL(_MATCHES[rule.scope])
    names |= {
        "cost": sql.SQL(_COST),
        "tokens": sql.SQL(_TOKENS),
        "matches_event": matches.format(row=sql.Identifier("event"), value=names["value"]),
        "matches_held": matches.format(row=sql.Identifier("held"), value=names["value"]),
    }
    parts = [_FOLDED_EVER if start is None else _FOLDED, _HELD]
    if parameters["first_batch"] is not None:
        parts.append(_NOT_FOLDED)
    if given["first_hour"] != given["start"]:
        parts.append(_BEFORE_FIRST_HOUR)
    if rule.fallback_price:
        parts.append(_AT_FALLBACK_PRICE)
    return sql.SQL("UNION ALL").join(part.format(**names) for part in parts)


def _first_waiting(organization: Organization) -> UUID | None:
    """The first batch that is not folded."""
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_WAITING, {"organization": organization.pk})
        row = cursor.fetchone()
    return None if row is None else row[0]


def _full_hour(start: datetime) -> datetime:
    """The first full hour from `start` on."""
    hour = start.replace(minute=0, second=0, microsecond=0)
    return hour if hour == start else hour + _HOUR
