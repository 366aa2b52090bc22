"""Read the balances of limits: folded and unfolded spend, and open authorizations.

`read_balances` is exact. For the hour in which a window begins it reads the events themselves, because the rollup only
has full hours. One statement reads everything from one snapshot, so an event and the authorization that it settled are
never both counted, and never both missing.

`spend_of_rules` reads many limits at once, exactly enough to compare them with their thresholds: `billing_balances`
reads full hours from the rollups, and for the hour in which a window begins only an upper bound (`edge_usd`; zero if
the window begins on the hour). Exact balances are read only for limits where that bound decides about a threshold: with
79.90 USD in full hours and an edge of 0.20 USD for a threshold of 80 USD, but not with an edge of 0.05 USD.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from billing.limits.limit_windows import window_span
from billing.limits.threshold_events import lowest_threshold_usd
from billing.limits.types import Balance, Bucket, Reservation, Rule
from costtrack.clock import DAY, EPOCH, start_of_hour
from costtrack.database.queries import fetch_rows
from costtrack.ids import first_id_of
from organizations.models import Organization

# billing/migrations/sql/0023_limit_balance_details.sql
_BALANCES = """
SELECT ordinal, kind, nullif(starts_at, '-infinity'), nullif(ends_at, '-infinity'), usd, unpriced
FROM billing_balance_details(
    %s, %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s, %s, %s::uuid[])
"""
_EVENT_AMOUNTS = """
SELECT ordinal, instant, usd FROM billing_spend_by_instant(
    %s, %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s::timestamptz[], %s::uuid[])
"""


def read_balances(*, organization: Organization, rules: Sequence[Rule], now: datetime) -> list[Balance]:
    """Return the balance of each rule, in order, from one snapshot."""
    if not rules:
        return []
    spend: list[list[Bucket]] = [[] for _ in rules]
    reservations: list[list[Reservation]] = [[] for _ in rules]
    unpriced: list[Counter[datetime | None]] = [Counter() for _ in rules]
    for index, kind, start, end, usd, without_price in _rows(organization, rules, now):
        if kind == "reserved":
            reservations[index - 1].append(Reservation(usd, end))
        else:
            spend[index - 1].append(Bucket(start or EPOCH, end or EPOCH, usd))
            unpriced[index - 1][None if start is None else start_of_hour(start)] += without_price
    return [
        Balance(
            tuple(sorted(spend[index])),
            tuple(reservations[index]),
            unpriced[index].total(),
            min((hour for hour, count in unpriced[index].items() if hour is not None and count > 0), default=None),
        )
        for index in range(len(rules))
    ]


def window_starts(organization: Organization, rules: Sequence[Rule], now: datetime) -> list[datetime | None]:
    calendar = organization.calendar
    return [window_span(rule.window, calendar, now, rule.period).start for rule in rules]


def rule_parameters(rules: Sequence[Rule], starts: Sequence[datetime | None]) -> list[Any]:
    """Return the parameters of PostgreSQL's functions that describe limits: p_scopes to p_fallback_prices."""
    return [
        [rule.rows_scope for rule in rules],
        [rule.value for rule in rules],
        [rule.conditions for rule in rules],
        [rule.unit.value for rule in rules],
        list(starts),
        [rule.fallback_price for rule in rules],
    ]


def _rows(organization: Organization, rules: Sequence[Rule], now: datetime) -> list[tuple[Any, ...]]:
    starts = window_starts(organization, rules, now)
    parameters: list[Any] = [
        organization.pk,
        *rule_parameters(rules, starts),
        now,
        start_of_hour(now) - DAY,
        [first_id_of(start) if start is not None else None for start in starts],
    ]
    return fetch_rows(_BALANCES, parameters)


def split_by_event(*, organization: Organization, requests: Sequence[tuple[Rule, Balance, Bucket]]) -> list[Balance]:
    """Return the balances with the given bucket of each replaced by one bucket per event, in order.

    The events are read later than the balances, so they may include some that were folded in between. Read the balances
    again if everything must come from one snapshot.
    """
    parameters: list[Any] = [
        organization.pk,
        *rule_parameters([rule for rule, _, _ in requests], [bucket.start for _, _, bucket in requests]),
        [bucket.end for _, _, bucket in requests],
        [first_id_of(bucket.start) for _, _, bucket in requests],
    ]
    event_amounts: list[list[Bucket]] = [[] for _ in requests]
    for index, at, usd in fetch_rows(_EVENT_AMOUNTS, parameters):
        event_amounts[index - 1].append(Bucket(at, at, usd))
    return [
        _replace_bucket(balance, bucket, found)
        for (_, balance, bucket), found in zip(requests, event_amounts, strict=True)
    ]


def _replace_bucket(balance: Balance, bucket: Bucket, event_amounts: Sequence[Bucket]) -> Balance:
    others = [other for other in balance.spend if not bucket.start <= other.start < bucket.end]
    return Balance(
        tuple(sorted([*others, *event_amounts])), balance.reservations, balance.unpriced, balance.unpriced_since
    )


T = TypeVar("T")

_BATCH_SIZE = 1000
_EXACT_BATCH_SIZE = 10  # each rule makes the statement longer
_BOUNDS = """
SELECT spent_usd, edge_usd
FROM billing_balances(%s, %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s)
ORDER BY ordinal
"""


def spend_of_rules(*, organization: Organization, rules: Sequence[Rule], now: datetime) -> list[Decimal]:
    """Return the spend of each rule, in order.

    A value below the rule's lowest threshold may be too low, but then the actual spend is below the threshold as well.
    """
    bounds = [bound for batch in _batches(rules, _BATCH_SIZE) for bound in _spend_bounds(organization, batch, now)]
    spent = [minimum for minimum, _ in bounds]
    inexact = [
        index
        for index, (minimum, edge) in enumerate(bounds)
        if edge and minimum + edge >= lowest_threshold_usd(rules[index])
    ]
    for indexes in _batches(inexact, _EXACT_BATCH_SIZE):
        balances = read_balances(organization=organization, rules=[rules[index] for index in indexes], now=now)
        for index, balance in zip(indexes, balances, strict=True):
            spent[index] = balance.spent_usd
    return spent


def _spend_bounds(organization: Organization, rules: Sequence[Rule], now: datetime) -> list[tuple[Decimal, Decimal]]:
    """Return for each rule the minimum spend, and the maximum that the first hour of the window may add to it."""
    parameters = [organization.pk, *rule_parameters(rules, window_starts(organization, rules, now)), now]
    return [(spent_usd, edge_usd) for spent_usd, edge_usd in fetch_rows(_BOUNDS, parameters)]


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
