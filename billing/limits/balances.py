"""Read exact balances of limits: folded and unfolded spend, and open authorizations.

For the hour in which a window begins the events themselves are read, because the rollup only has full hours. One
statement reads everything from one snapshot, so an event and the authorization that it settled are never both counted,
and never both missing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from billing.limits.evaluate import window_span
from billing.limits.types import Balance, Bucket, Reservation, Rule
from costtrack.calendar import DAY, EPOCH
from costtrack.ids import first_id_of
from organizations.models import Organization

# billing/migrations/0015.
_BALANCES = """
SELECT place, kind, nullif(begins, '-infinity'), nullif(ends, '-infinity'), usd, unpriced
FROM billing_readings(%s, %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s, %s, %s::uuid[])
"""
_EVENT_AMOUNTS = """
SELECT place, instant, usd FROM billing_instants(
    %s, %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::numeric[], %s::uuid[])
"""


def read_balances(*, organization: Organization, rules: Sequence[Rule], now: datetime) -> list[Balance]:
    """Return the balance of each rule, in order, from one snapshot."""
    if not rules:
        return []
    spend: list[list[Bucket]] = [[] for _ in rules]
    reservations: list[list[Reservation]] = [[] for _ in rules]
    unpriced = [0] * len(rules)
    for index, kind, start, end, usd, without_price in _rows(organization, rules, now):
        if kind == "hold":
            reservations[index - 1].append(Reservation(usd, end))
        else:
            spend[index - 1].append(Bucket(start or EPOCH, end or EPOCH, usd))
            unpriced[index - 1] += without_price
    return [
        Balance(tuple(sorted(spend[index])), tuple(reservations[index]), unpriced[index]) for index in range(len(rules))
    ]


def _rows(organization: Organization, rules: Sequence[Rule], now: datetime) -> list[Sequence[Any]]:
    starts = [window_span(rule.window, organization.calendar, now).start for rule in rules]
    parameters: list[Any] = [
        organization.pk,
        [rule.scope.value for rule in rules],
        [rule.value for rule in rules],
        starts,
        [rule.fallback_price for rule in rules],
        now,
        now.replace(minute=0, second=0, microsecond=0) - DAY,
        [first_id_of(start) if start is not None else None for start in starts],
    ]
    with connection.cursor() as cursor:
        cursor.execute(_BALANCES, parameters)
        rows: list[Sequence[Any]] = cursor.fetchall()
    return rows


def split_by_event(*, organization: Organization, requests: Sequence[tuple[Rule, Balance, Bucket]]) -> list[Balance]:
    """Return the balances with the given bucket of each replaced by one bucket per event, in order.

    The events are read later than the balances, so they may include some that were folded in between. Read the balances
    again if everything must come from one snapshot.
    """
    parameters: list[Any] = [
        organization.pk,
        [rule.scope.value for rule, _, _ in requests],
        [rule.value for rule, _, _ in requests],
        [bucket.start for _, _, bucket in requests],
        [bucket.end for _, _, bucket in requests],
        [rule.fallback_price for rule, _, _ in requests],
        [first_id_of(bucket.start) for _, _, bucket in requests],
    ]
    event_amounts: list[list[Bucket]] = [[] for _ in requests]
    with connection.cursor() as cursor:
        cursor.execute(_EVENT_AMOUNTS, parameters)
        for index, at, usd in cursor.fetchall():
            event_amounts[index - 1].append(Bucket(at, at, usd))
    return [
        _replace_bucket(balance, bucket, found)
        for (_, balance, bucket), found in zip(requests, event_amounts, strict=True)
    ]


def _replace_bucket(balance: Balance, bucket: Bucket, event_amounts: Sequence[Bucket]) -> Balance:
    others = [other for other in balance.spend if not bucket.start <= other.start < bucket.end]
    return Balance(tuple(sorted([*others, *event_amounts])), balance.reservations, balance.unpriced)
