"""What has been spent under a limit and is held of it, exactly: what is folded, what is not yet, and the events of the
hours in which windows begin, which the rollup has only as wholes.

One statement reads one moment, so an event and the reservation that it settled are never both missing, nor both there.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from billing.limits.evaluate import span_of
from billing.limits.types import Balance, Bucket, Reservation, Rule
from costtrack.ids import ids_at
from organizations.models import Organization

_DAY = timedelta(days=1)
# An event is received at most an hour before it occurred; a day leaves room for clocks that differ.
_RECEIVED_BEFORE = _DAY
_EVER = datetime(1970, 1, 1, tzinfo=UTC)

# billing/migrations/0015.
_READINGS = """
SELECT place, kind, nullif(begins, '-infinity'), nullif(ends, '-infinity'), usd, unpriced
FROM billing_readings(%s, %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s, %s, %s::uuid[])
"""
_INSTANTS = """
SELECT place, instant, usd FROM billing_instants(
    %s, %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::numeric[], %s::uuid[])
"""


def read_balances(*, organization: Organization, rules: Sequence[Rule], now: datetime) -> list[Balance]:
    """What the database says of each rule, in their order, all at one moment."""
    if not rules:
        return []
    spend: list[list[Bucket]] = [[] for _ in rules]
    reservations: list[list[Reservation]] = [[] for _ in rules]
    unpriced = [0] * len(rules)
    for place, kind, start, end, usd, without_price in _rows(organization, rules, now):
        if kind == "hold":
            reservations[place - 1].append(Reservation(usd, end))
        else:
            spend[place - 1].append(Bucket(start or _EVER, end or _EVER, usd))
            unpriced[place - 1] += without_price
    return [
        Balance(tuple(sorted(spend[place])), tuple(reservations[place]), unpriced[place]) for place in range(len(rules))
    ]


def _rows(organization: Organization, rules: Sequence[Rule], now: datetime) -> list[Sequence[Any]]:
    starts = [span_of(rule.window, organization.calendar, now).start for rule in rules]
    parameters: list[Any] = [
        organization.pk,
        [rule.scope.value for rule in rules],
        [rule.value for rule in rules],
        starts,
        [rule.fallback_price for rule in rules],
        now,
        now.replace(minute=0, second=0, microsecond=0) - _DAY,
        [_first_id(start) if start is not None else None for start in starts],
    ]
    with connection.cursor() as cursor:
        cursor.execute(_READINGS, parameters)
        rows: list[Sequence[Any]] = cursor.fetchall()
    return rows


def split_by_event(*, organization: Organization, wanted: Sequence[tuple[Rule, Balance, Bucket]]) -> list[Balance]:
    """The same readings, each with one of its buckets taken apart into the instants at which the amounts were spent, in
    their order. (What was folded since they were read may be among them: so read again what must be of one moment.)"""
    parameters: list[Any] = [
        organization.pk,
        [rule.scope.value for rule, _, _ in wanted],
        [rule.value for rule, _, _ in wanted],
        [bucket.start for _, _, bucket in wanted],
        [bucket.end for _, _, bucket in wanted],
        [rule.fallback_price for rule, _, _ in wanted],
        [_first_id(bucket.start) for _, _, bucket in wanted],
    ]
    instants: list[list[Bucket]] = [[] for _ in wanted]
    with connection.cursor() as cursor:
        cursor.execute(_INSTANTS, parameters)
        for place, at, usd in cursor.fetchall():
            instants[place - 1].append(Bucket(at, at, usd))
    return [_with(balance, bucket, found) for (_, balance, bucket), found in zip(wanted, instants, strict=True)]


def _with(balance: Balance, bucket: Bucket, instants: Sequence[Bucket]) -> Balance:
    others = [other for other in balance.spend if not bucket.start <= other.start < bucket.end]
    return Balance(tuple(sorted([*others, *instants])), balance.reservations, balance.unpriced)


def _first_id(start: datetime) -> UUID:
    """No event that occurred from then on has a smaller id."""
    return ids_at(start - _RECEIVED_BEFORE)[0]
