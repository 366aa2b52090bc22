"""Verify limits: compare the balances that `billing_balances` returns with sums over the ledger and the authorizations,
and check the state of each authorization.

Each statement reads one snapshot and takes no lock, so it is correct while events arrive.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from psycopg import sql

from billing.limits.balances import rule_parameters
from billing.limits.cache import LimitSet, limit_set, period_of
from billing.limits.limit_windows import window_span
from billing.limits.types import NO_PERIOD, Period, Rule
from billing.models import SpendLimit
from billing.rollups.compare import WORK_MEMORY
from billing.rollups.definitions import SCOPES_OF_EVENT
from billing.rollups.types import Checked, Difference, Progress, Step, ignore_progress
from billing.rollups.verify import LIMITS, save_check
from billing.types import LimitWindow
from costtrack.database.queries import fetch_rows
from costtrack.ids import ids_at
from costtrack.money import plain
from organizations.models import Organization

_AUTHORIZATIONS = "authorizations"

# Values per statement: each needs its own lookups, but the ledger is read once for all of them.
MAX_VALUES = 5_000
_MAX_DIFFERENCES = 20
# Only what has changed recently is checked; earlier runs have checked the rest.
_LOOKBACK = timedelta(days=7)
_FUTURE_TOLERANCE = timedelta(hours=1)
# A task marks expired authorizations every minute.
_EXPIRY_GRACE = timedelta(minutes=5)

_SCOPES = sql.SQL(SCOPES_OF_EVENT)
# The first full hour of the window, as in the function.
_FIRST_HOUR = sql.SQL("date_trunc('hour', %(start)s + interval '1 hour' - interval '1 microsecond', 'UTC')")
# The values of a scope with recent events or open authorizations, which have an event's dimensions.
_VALUES = sql.SQL("""
SELECT value FROM billing_livescopetotal
WHERE organization_id = %(organization)s AND scope = %(scope)s AND last_received_at >= %(since)s
UNION SELECT event_scope.value FROM billing_authorization AS event {scopes}
WHERE event.organization_id = %(organization)s AND event.status = 'reserved' AND event_scope.scope = %(scope)s
ORDER BY 1
""").format(scopes=_SCOPES)
# The function reads folded spend by full hours, so for the hour in which the window begins it only has unfolded spend.
_COMPARE_BALANCES = sql.SQL("""
WITH requested AS MATERIALIZED (
    SELECT * FROM unnest(%(scopes)s::text[], %(values)s::text[], %(units)s::text[], %(fallbacks)s::numeric[])
        WITH ORDINALITY AS given (scope, value, unit, fallback, ordinal)
), balance AS MATERIALIZED (
    SELECT * FROM billing_balances(%(organization)s, %(scopes)s::text[], %(values)s::text[], %(conditions)s::text[],
        %(units)s::text[], array_fill(%(start)s::timestamptz, ARRAY[cardinality(%(scopes)s::text[])]),
        %(fallbacks)s::numeric[], %(now)s)
), counted AS MATERIALIZED (
    SELECT event.*, coalesce(event.token_cost_usd, 0) + event.compute_cost_usd AS usd,
        event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens AS tokens,
        %(start)s::timestamptz IS NULL OR event.occurred_at >= {first_hour}
            OR substring(uuid_send(event.id), 1, 14) IN (
                SELECT substring(uuid_send(batch.id), 1, 14) FROM billing_ingestbatch AS batch
                WHERE batch.organization_id = %(organization)s AND batch.folded_at IS NULL
            ) AS is_counted,
        CASE WHEN unpriced.event_id IS NOT NULL THEN
            event.input_tokens + event.output_tokens + event.cache_read_tokens + event.cache_creation_tokens
        END AS unpriced_tokens
    FROM billing_usageevent AS event LEFT JOIN billing_unpricedevent AS unpriced
        ON unpriced.organization_id = %(organization)s AND unpriced.event_id = event.id
    WHERE event.organization_id = %(organization)s
        AND (%(start)s::timestamptz IS NULL OR event.occurred_at >= %(start)s)
), ledger AS (
    SELECT requested.ordinal,
        sum(billing_in_unit(requested.unit, event.usd, event.tokens, event.requests))
            FILTER (WHERE event.is_counted) AS spent,
        sum(billing_in_unit(requested.unit, event.usd, event.tokens, event.requests))
            FILTER (WHERE NOT event.is_counted) AS edge,
        sum(event.unpriced_tokens) * min(requested.fallback) / 1000000 AS fallback_cost
    FROM counted AS event {scopes}
    JOIN requested ON requested.scope = event_scope.scope AND requested.value = event_scope.value
    GROUP BY requested.ordinal
), dropped AS (
    SELECT requested.ordinal, sum(archive.cost_usd) AS spent FROM requested JOIN {rollup} AS archive
        ON archive.organization_id = %(organization)s AND archive.scope = requested.scope
        AND archive.value = requested.value
    WHERE archive.archived AND {since_first_hour} GROUP BY requested.ordinal
), reserved AS (
    SELECT requested.ordinal, sum(billing_in_unit(requested.unit, event.amount_usd, event.tokens, 1)) AS amount
    FROM billing_authorization AS event {scopes}
    JOIN requested ON requested.scope = event_scope.scope AND requested.value = event_scope.value
    WHERE event.organization_id = %(organization)s AND event.status = 'reserved' AND event.expires_at > %(now)s
    GROUP BY requested.ordinal
), compared AS (
    SELECT ordinal, balance.spent_usd AS spent, balance.reserved_usd AS reserved, balance.edge_usd AS edge,
        coalesce(ledger.spent, 0) + coalesce(dropped.spent, 0) + coalesce(ledger.fallback_cost, 0) AS expected_spent,
        coalesce(reserved.amount, 0) AS expected_reserved, coalesce(ledger.edge, 0) AS expected_edge
    FROM balance LEFT JOIN ledger USING (ordinal) LEFT JOIN dropped USING (ordinal) LEFT JOIN reserved USING (ordinal)
)
SELECT count(*) OVER (), ordinal - 1, spent, expected_spent, reserved, expected_reserved, edge, expected_edge
FROM compared WHERE spent <> expected_spent OR reserved <> expected_reserved OR edge < expected_edge
ORDER BY ordinal LIMIT %(max_rows)s
""")
# Each of these returns the number of differences, and for the first ones the authorization, a column, its value and the
# expected value.
_OVERDUE = """
SELECT count(*) OVER (), id, 'status', status, 'expired' FROM billing_authorization
WHERE organization_id = %(organization)s AND status = 'reserved' AND expires_at <= %(overdue)s
ORDER BY id LIMIT %(max_rows)s
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
ORDER BY ended.id LIMIT %(max_rows)s
"""
_NOT_SETTLED = """
SELECT count(*) OVER (), open.id, 'status', open.status, 'settled'
FROM billing_usageevent AS event JOIN billing_authorization AS open
    ON open.organization_id = %(organization)s AND open.id = event.authorization_id
WHERE event.organization_id = %(organization)s AND event.id >= %(first_id)s AND open.status <> 'settled'
GROUP BY open.id, open.status ORDER BY open.id LIMIT %(max_rows)s
"""
_DUPLICATE_EVENTS = """
SELECT count(*) OVER (), min(authorization_id::text), 'events ' || event_id, count(*)::text, '1'
FROM billing_usageevent
WHERE organization_id = %(organization)s AND id >= %(first_id)s AND authorization_id IS NOT NULL AND event_id <> ''
GROUP BY source, event_id HAVING count(*) > 1 ORDER BY 2 LIMIT %(max_rows)s
"""
# Events that count under other limits than those that reserved their cost.
_OTHER_DIMENSIONS = """
SELECT count(*) OVER (), authorized.id, difference.name, difference.of_event, difference.authorized
FROM billing_usageevent AS event JOIN billing_authorization AS authorized
    ON authorized.organization_id = %(organization)s AND authorized.id = event.authorization_id
CROSS JOIN LATERAL (
    SELECT name, of_event, authorized FROM (VALUES
        ('credential_id', event.credential_id::text, authorized.credential_id::text),
        ('model', event.model, authorized.model),
        ('user_id', event.user_ref, authorized.user_ref),
        ('workflow_id', event.workflow_id, authorized.workflow_id),
        ('run_id', event.run_id, authorized.run_id),
        ('session_id', event.session_id, authorized.session_id),
        ('end_user', event.end_user, authorized.end_user),
        ('team', event.team, authorized.team),
        ('agent_id', event.agent_id, authorized.agent_id),
        ('capability', event.capability, authorized.capability)
    ) AS named (name, of_event, authorized) WHERE authorized <> '' AND of_event IS DISTINCT FROM authorized
    UNION ALL
    SELECT 'tags', event.tags::text, authorized.tags::text WHERE NOT event.tags @> authorized.tags
) AS difference
WHERE event.organization_id = %(organization)s AND event.id >= %(first_id)s AND event.kind <> 'adjustment'
ORDER BY authorized.id, difference.name LIMIT %(max_rows)s
"""
_AUTHORIZATION_CHECKS = (_OVERDUE, _SETTLED_WRONGLY, _NOT_SETTLED, _DUPLICATE_EVENTS, _OTHER_DIMENSIONS)


@dataclass(frozen=True, slots=True)
class _CheckGroup:
    """A step of the check: rules with the same window, or no rules to check the authorizations themselves."""

    name: str
    rules: Sequence[Rule] = ()


def verify_limits(*, organization: Organization, now: datetime, progress: Progress = ignore_progress) -> Checked:
    """Check all limits and authorizations of an organization, and store the result (`RollupCheck`)."""
    groups = [*_rule_groups(organization, now), _CheckGroup(_AUTHORIZATIONS)]
    count, differences = 0, list[Difference]()
    for number, group in enumerate(groups, start=1):
        more, first = _check_group(organization, group, now)
        count, differences = count + more, [*differences, *first][:_MAX_DIFFERENCES]
        progress(Step(organization.pk, group.name, number, len(groups)))
    return save_check(organization.pk, Checked(LIMITS, count, tuple(differences)), now)


def _rule_groups(organization: Organization, now: datetime) -> Iterator[_CheckGroup]:
    """Yield the rules in force, grouped by window."""
    all_limits = limit_set(organization)
    rules = all_limits.single_limit_rules(now=now)
    for limit in all_limits.per_value_limits(now=now):
        rules += _rules_of(organization, all_limits, limit, now)
    by_window: dict[tuple[str, Period], list[Rule]] = defaultdict(list)
    for rule in rules:
        by_window[rule.window.value, rule.period if rule.window in _WITH_PERIOD else NO_PERIOD].append(rule)
    for (window, _), of_window in sorted(by_window.items(), key=_window_name):
        for first in range(0, len(of_window), MAX_VALUES):
            yield _CheckGroup(window, of_window[first : first + MAX_VALUES])


_WITH_PERIOD = (LimitWindow.CALENDAR_MONTH, LimitWindow.CALENDAR_QUARTER, LimitWindow.FIXED_PERIOD)


def _window_name(group: tuple[tuple[str, Period], list[Rule]]) -> str:
    return group[0][0]


def _rules_of(organization: Organization, all_limits: LimitSet, limit: SpendLimit, now: datetime) -> list[Rule]:
    """Return the rules of a per-value limit for the values that have changed recently."""
    start = window_span(LimitWindow(limit.window), organization.calendar, now, period_of(limit)).start
    since = max(start or now - _LOOKBACK, now - _LOOKBACK) - _FUTURE_TOLERANCE
    values = fetch_rows(_VALUES, {"organization": organization.pk, "scope": limit.rows_scope, "since": since})
    return [rule for (value,) in values if (rule := all_limits.rule(limit.pk, value, now=now)) is not None]


def _check_group(organization: Organization, group: _CheckGroup, now: datetime) -> tuple[int, list[Difference]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WORK_MEMORY)
        if group.rules:
            return _compare_balances(cursor, organization, group.rules, now)
        return _check_authorizations(cursor, organization, now)


def _compare_balances(
    cursor: Any, organization: Organization, rules: Sequence[Rule], now: datetime
) -> tuple[int, list[Difference]]:
    start = window_span(rules[0].window, organization.calendar, now, rules[0].period).start
    query = _COMPARE_BALANCES.format(
        scopes=_SCOPES,
        rollup=sql.Identifier("billing_scopetotal" if start is None else "billing_scopehour"),
        first_hour=sql.SQL("NULL") if start is None else _FIRST_HOUR,
        since_first_hour=sql.SQL("true") if start is None else sql.SQL("archive.hour >= {}").format(_FIRST_HOUR),
    )
    parameters = {
        "organization": organization.pk,
        **dict(
            zip(
                ("scopes", "values", "conditions", "units", "starts", "fallbacks"),
                rule_parameters(rules, ()),
                strict=True,
            )
        ),
        "start": start,
        "now": now,
        "max_rows": _MAX_DIFFERENCES,
    }
    cursor.execute(query, parameters)
    rows = cursor.fetchall()
    differences = [_balance_difference(rules[index], *amounts) for _, index, *amounts in rows]
    return (rows[0][0] if rows else 0), differences


def _balance_difference(rule: Rule, *amounts: Decimal) -> Difference:
    """`amounts` are pairs: what the function returned, and the expected amount. The edge is an upper bound."""
    spent, expected_spent, reserved, expected_reserved, edge, expected_edge = amounts
    pairs = {"spent_usd": (spent, expected_spent), "held_usd": (reserved, expected_reserved)}
    wrong = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    if edge < expected_edge:
        wrong["edge_usd"] = (edge, expected_edge)
    return Difference(
        LIMITS,
        {"limit": str(rule.limit_id), "value": rule.value},
        {name: plain(actual) for name, (actual, _) in wrong.items()},
        {name: plain(expected) for name, (_, expected) in wrong.items()},
    )


def _check_authorizations(cursor: Any, organization: Organization, now: datetime) -> tuple[int, list[Difference]]:
    since = now - _LOOKBACK
    parameters = {
        "organization": organization.pk,
        "overdue": now - _EXPIRY_GRACE,
        "since": since,
        "first_id": ids_at(since - _FUTURE_TOLERANCE)[0],
        "max_rows": _MAX_DIFFERENCES,
    }
    count, differences = 0, list[Difference]()
    for query in _AUTHORIZATION_CHECKS:
        cursor.execute(query, parameters)
        rows = cursor.fetchall()
        count += rows[0][0] if rows else 0
        differences += [
            Difference(LIMITS, {"authorization": str(pk)}, {column: actual}, {column: expected})
            for _, pk, column, actual, expected in rows
        ]
    return count, differences
