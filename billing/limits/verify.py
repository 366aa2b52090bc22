"""Whether limits rest on the truth: what `billing_meter` says is spent and held beside plain sums over the ledger and
the authorizations' rows, and whether each authorization is in a state that it may be in.

Each statement sees one snapshot and takes no lock, so it is right whatever is taken in meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.db import connection, transaction
from psycopg import sql

from billing.limits.cache import LimitSet, limit_set
from billing.limits.evaluate import span_of
from billing.limits.types import Rule
from billing.models import SpendLimit
from billing.rollups.compare import WORK_MEMORY
from billing.rollups.definitions import SCOPES_OF_EVENT
from billing.rollups.types import Checked, Difference, Progress, Step, silent
from billing.rollups.verify import LIMITS, keep
from billing.types import LimitWindow
from costtrack.ids import ids_at
from costtrack.money import plain
from organizations.models import Organization

_AUTHORIZATIONS = "authorizations"

# Values of one statement: each is looked up by itself, and the ledger is read once for all of them.
MAX_VALUES = 5_000
_MAX_SHOWN = 20
# What has changed since the last times this was run; the rest stands as it was found.
_LOOKS_BACK = timedelta(days=7)
_FUTURE_TOLERANCE = timedelta(hours=1)
# Marking expired ones is a task of every minute.
_MARKED_WITHIN = timedelta(minutes=5)

_SCOPES = sql.SQL(SCOPES_OF_EVENT)
# The first full hour of the window, as the function has it.
_FIRST_HOUR = sql.SQL("date_trunc('hour', %(start)s + interval '1 hour' - interval '1 microsecond', 'UTC')")
# The values of a scope that something was received of, or is held for. (Authorizations have an event's dimensions.)
_VALUES = sql.SQL("""
SELECT value FROM billing_livescopetotal
WHERE organization_id = %(organization)s AND scope = %(scope)s AND last_received_at >= %(since)s
UNION SELECT part.value FROM billing_authorization AS event {scopes}
WHERE event.organization_id = %(organization)s AND event.status = 'reserved' AND part.scope = %(scope)s
ORDER BY 1
""").format(scopes=_SCOPES)
# The function has what is folded by whole hours, so of the hour in which the window begins only what is not folded.
_METERS = sql.SQL("""
WITH measured AS MATERIALIZED (
    SELECT * FROM unnest(%(scopes)s::text[], %(values)s::text[], %(fallbacks)s::numeric[])
        WITH ORDINALITY AS told (scope, value, fallback, place)
), metered AS MATERIALIZED (
    SELECT * FROM billing_meter(%(organization)s, %(scopes)s::text[], %(values)s::text[],
        array_fill(%(start)s::timestamptz, ARRAY[cardinality(%(scopes)s::text[])]), %(fallbacks)s::numeric[], %(now)s)
), counted AS MATERIALIZED (
    SELECT event.*, coalesce(event.token_cost_usd, 0) + event.compute_cost_usd AS usd,
        %(start)s::timestamptz IS NULL OR event.occurred_at >= {first_hour}
            OR substring(uuid_send(event.id), 1, 14) IN (
                SELECT substring(uuid_send(batch.id), 1, 14) FROM billing_ingestbatch AS batch
                WHERE batch.organization_id = %(organization)s AND batch.folded_at IS NULL
            ) AS is_metered,
        CASE WHEN waiting.event_id IS NOT NULL THEN
            event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens
        END AS unpriced_tokens
    FROM billing_usageevent AS event LEFT JOIN billing_unpricedevent AS waiting
        ON waiting.organization_id = %(organization)s AND waiting.event_id = event.id
    WHERE event.organization_id = %(organization)s
        AND (%(start)s::timestamptz IS NULL OR event.occurred_at >= %(start)s)
), ledger AS (
    SELECT measured.place, sum(event.usd) FILTER (WHERE event.is_metered) AS spent,
        sum(event.usd) FILTER (WHERE NOT event.is_metered) AS edge,
        sum(event.unpriced_tokens) * min(measured.fallback) / 1000000 AS supposed
    FROM counted AS event {scopes} JOIN measured ON measured.scope = part.scope AND measured.value = part.value
    GROUP BY measured.place
), dropped AS (
    SELECT measured.place, sum(kept.cost_usd) AS spent FROM measured JOIN {rollup} AS kept
        ON kept.organization_id = %(organization)s AND kept.scope = measured.scope AND kept.value = measured.value
    WHERE kept.archived AND {since_first_hour} GROUP BY measured.place
), reserved AS (
    SELECT measured.place, sum(event.amount_usd) AS held
    FROM billing_authorization AS event {scopes}
    JOIN measured ON measured.scope = part.scope AND measured.value = part.value
    WHERE event.organization_id = %(organization)s AND event.status = 'reserved' AND event.expires_at > %(now)s
    GROUP BY measured.place
), beside AS (
    SELECT place, metered.spent, metered.held, metered.edge,
        coalesce(ledger.spent, 0) + coalesce(dropped.spent, 0) + coalesce(ledger.supposed, 0) AS told_spent,
        coalesce(reserved.held, 0) AS told_held, coalesce(ledger.edge, 0) AS told_edge
    FROM metered LEFT JOIN ledger USING (place) LEFT JOIN dropped USING (place) LEFT JOIN reserved USING (place)
)
SELECT count(*) OVER (), place - 1, spent, told_spent, held, told_held, edge, told_edge FROM beside
WHERE spent <> told_spent OR held <> told_held OR edge < told_edge ORDER BY place LIMIT %(most)s
""")
# Each of these answers: how many there are, and of the first ones the authorization, a column, what it is and what it
# should be.
_OVERDUE = """
SELECT count(*) OVER (), id, 'status', status, 'expired' FROM billing_authorization
WHERE organization_id = %(organization)s AND status = 'reserved' AND expires_at <= %(overdue)s
ORDER BY id LIMIT %(most)s
"""
_SETTLED_WRONGLY = """
SELECT count(*) OVER (), ended.id, 'settled_usd', coalesce(ended.settled_usd::text, 'nothing'),
    coalesce(sum(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd)::text, 'no event')
FROM billing_authorization AS ended LEFT JOIN billing_usageevent AS event
    ON event.organization_id = %(organization)s AND event.id >= %(first_id)s AND event.authorization_id = ended.id
WHERE ended.organization_id = %(organization)s AND ended.status = 'settled' AND ended.ended_at >= %(since)s
    AND date_trunc('month', ended.ended_at, 'UTC')::date NOT IN (
        SELECT month FROM billing_droppedmonth WHERE organization_id = %(organization)s
    )
GROUP BY ended.id, ended.settled_usd
HAVING sum(coalesce(event.token_cost_usd, 0) + event.compute_cost_usd) IS DISTINCT FROM ended.settled_usd
ORDER BY ended.id LIMIT %(most)s
"""
_NOT_SETTLED = """
SELECT count(*) OVER (), held.id, 'status', held.status, 'settled'
FROM billing_usageevent AS event JOIN billing_authorization AS held
    ON held.organization_id = %(organization)s AND held.id = event.authorization_id
WHERE event.organization_id = %(organization)s AND event.id >= %(first_id)s AND held.status <> 'settled'
GROUP BY held.id, held.status ORDER BY held.id LIMIT %(most)s
"""
_TWICE = """
SELECT count(*) OVER (), min(authorization_id::text), 'events ' || event_id, count(*)::text, '1'
FROM billing_usageevent
WHERE organization_id = %(organization)s AND id >= %(first_id)s AND authorization_id IS NOT NULL AND event_id <> ''
GROUP BY source, event_id HAVING count(*) > 1 ORDER BY 2 LIMIT %(most)s
"""
_QUESTIONS = (_OVERDUE, _SETTLED_WRONGLY, _NOT_SETTLED, _TWICE)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rules of one window, or of none: then the authorizations themselves."""

    name: str
    rules: Sequence[Rule] = ()


def verify_limits(*, organization: Organization, now: datetime, progress: Progress = silent) -> Checked:
    """Check all of an organization's limits and authorizations, and keep what came of it (`RollupCheck`)."""
    parts = [*_meters(organization, now), _Part(_AUTHORIZATIONS)]
    count, found = 0, list[Difference]()
    for number, part in enumerate(parts, start=1):
        more, first = _compare(organization, part, now)
        count, found = count + more, [*found, *first][:_MAX_SHOWN]
        progress(Step(organization.pk, part.name, number, len(parts)))
    return keep(organization.pk, Checked(LIMITS, count, tuple(found)), now)


def _meters(organization: Organization, now: datetime) -> Iterator[_Part]:
    """The rules in force, those of one window together."""
    book = limit_set(organization)
    rules = book.rules_of_single_limits(now=now)
    for limit in book.limits_of_each(now=now):
        rules += _rules_of(organization, book, limit, now)
    for window, group in groupby(sorted(rules, key=_window), key=_window):
        of_window = list(group)
        for first in range(0, len(of_window), MAX_VALUES):
            yield _Part(window, of_window[first : first + MAX_VALUES])


def _window(rule: Rule) -> str:
    return rule.window.value


def _rules_of(organization: Organization, book: LimitSet, limit: SpendLimit, now: datetime) -> list[Rule]:
    """A limit of each for the values that have changed since the last times, of which there may be many."""
    start = span_of(LimitWindow(limit.window), organization.calendar, now).start
    since = max(start or now - _LOOKS_BACK, now - _LOOKS_BACK) - _FUTURE_TOLERANCE
    with connection.cursor() as cursor:
        cursor.execute(_VALUES, {"organization": organization.pk, "scope": limit.scope, "since": since})
        values = [value for (value,) in cursor.fetchall()]
    return [rule for value in values if (rule := book.rule(limit.pk, value, now=now)) is not None]


def _compare(organization: Organization, part: _Part, now: datetime) -> tuple[int, list[Difference]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WORK_MEMORY)
        if part.rules:
            return _metered(cursor, organization, part.rules, now)
        return _authorizations(cursor, organization, now)


def _metered(
    cursor: Any, organization: Organization, rules: Sequence[Rule], now: datetime
) -> tuple[int, list[Difference]]:
    start = span_of(rules[0].window, organization.calendar, now).start
    query = _METERS.format(
        scopes=_SCOPES,
        rollup=sql.Identifier("billing_scopetotal" if start is None else "billing_scopehour"),
        first_hour=sql.SQL("NULL") if start is None else _FIRST_HOUR,
        since_first_hour=sql.SQL("true") if start is None else sql.SQL("kept.hour >= {}").format(_FIRST_HOUR),
    )
    parameters = {
        "organization": organization.pk,
        "scopes": [rule.scope.value for rule in rules],
        "values": [rule.value for rule in rules],
        "fallbacks": [rule.fallback_price for rule in rules],
        "start": start,
        "now": now,
        "most": _MAX_SHOWN,
    }
    cursor.execute(query, parameters)
    found = cursor.fetchall()
    differences = [_metered_wrongly(rules[place], *amounts) for _, place, *amounts in found]
    return (found[0][0] if found else 0), differences


def _metered_wrongly(rule: Rule, *amounts: Decimal) -> Difference:
    """`amounts` are pairs: what the function says, and what it should. The edge may be more than it has to be."""
    spent, told_spent, held, told_held, edge, told_edge = amounts
    pairs = {"spent_usd": (spent, told_spent), "held_usd": (held, told_held)}
    wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if edge < told_edge:
        wrong["edge_usd"] = (edge, told_edge)
    return Difference(
        LIMITS,
        {"limit": str(rule.limit_id), "value": rule.value},
        {name: plain(is_) for name, (is_, _) in wrong.items()},
        {name: plain(should_be) for name, (_, should_be) in wrong.items()},
    )


def _authorizations(cursor: Any, organization: Organization, now: datetime) -> tuple[int, list[Difference]]:
    since = now - _LOOKS_BACK
    parameters = {
        "organization": organization.pk,
        "overdue": now - _MARKED_WITHIN,
        "since": since,
        "first_id": ids_at(since - _FUTURE_TOLERANCE)[0],
        "most": _MAX_SHOWN,
    }
    count, differences = 0, list[Difference]()
    for question in _QUESTIONS:
        cursor.execute(question, parameters)
        found = cursor.fetchall()
        count += found[0][0] if found else 0
        differences += [
            Difference(LIMITS, {"authorization": str(pk)}, {column: is_}, {column: should_be})
            for _, pk, column, is_, should_be in found
        ]
    return count, differences
