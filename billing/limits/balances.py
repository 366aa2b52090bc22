"""Read the balances of limits: folded and unfolded spend, and open authorizations.

`read_balances` is exact. For the hour in which a window begins it reads the events themselves, because the rollup only
has full hours. One statement reads everything from one snapshot, so an event and the authorization that it settled are
never both counted, and never both missing. With the revision of the limits that the rules are from, it does not add up
the unfolded events whose spend is cached (`billing.limits.covered_spend`).

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

from billing.limits.covered_spend import CoveredSpend, covered_spend
from billing.limits.limit_windows import window_span
from billing.limits.threshold_events import lowest_threshold_usd
from billing.limits.types import Balance, Bucket, Reservation, Rule
from costtrack.clock import DAY, EPOCH, HOUR, start_of_hour
from costtrack.database.queries import fetch_rows
from costtrack.ids import first_id_of
from organizations.models import Organization

# billing/migrations/sql/0077_limit_balance_rows.sql
_BALANCES = """
SELECT ordinal, kind, nullif(starts_at, '-infinity'), nullif(ends_at, '-infinity'), usd, unpriced
FROM billing_balance_rows(
    %s, %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s, %s, %s::uuid[],
    %s::uuid, %s::text)
"""


def read_balances(
    *, organization: Organization, rules: Sequence[Rule], now: datetime, revision: int | None = None
) -> list[Balance]:
    """Return the balance of each rule, in order, from one snapshot. `revision` is that of the limits of the rules."""
    if not rules:
        return []
    starts = window_starts(organization, rules, now)
    covered = None if revision is None else covered_spend(organization.pk, revision=revision)
    spend: list[list[Bucket]] = [[] for _ in rules]
    reservations: list[list[Reservation]] = [[] for _ in rules]
    unpriced: list[Counter[datetime | None]] = [Counter() for _ in rules]
    for index, kind, start, end, usd, without_price in _rows(organization, rules, starts, covered, now):
        if kind == "covered" and covered is not None:
            _add_covered(covered, rules, starts, spend, unpriced)
        elif kind == "reserved":
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


def _add_covered(
    covered: CoveredSpend,
    rules: Sequence[Rule],
    starts: Sequence[datetime | None],
    spend: Sequence[list[Bucket]],
    unpriced: Sequence[Counter[datetime | None]],
) -> None:
    for index, (rule, start) in enumerate(zip(rules, starts, strict=True)):
        for hour in covered.full_hours(rule, start):
            spend[index].append(Bucket(hour.start, hour.start + HOUR, hour.cost_usd))
            unpriced[index][hour.start] += hour.unpriced


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


def _rows(
    organization: Organization,
    rules: Sequence[Rule],
    starts: Sequence[datetime | None],
    covered: CoveredSpend | None,
    now: datetime,
) -> list[tuple[Any, ...]]:
    parameters: list[Any] = [
        organization.pk,
        *rule_parameters(rules, starts),
        now,
        start_of_hour(now) - DAY,
        [first_id_of(start) if start is not None else None for start in starts],
        *((None, None) if covered is None else (covered.until, covered.state)),
    ]
    return fetch_rows(_BALANCES, parameters)


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
