"""Read the spend of many limits at once, exactly enough to compare it with their thresholds.

`billing_balances` reads full hours from the rollups. For the hour in which a window begins it returns only an upper
bound (`edge_usd`; zero if the window begins on the hour). Exact balances (`billing.limits.balances`) are read only for
limits where that bound decides about a threshold.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from django.db import connection

from billing.limits.balances import read_balances
from billing.limits.evaluate import window_span
from billing.limits.threshold_events import lowest_threshold_usd
from billing.limits.types import Rule
from organizations.models import Organization

T = TypeVar("T")

_BATCH_SIZE = 1000
_EXACT_BATCH_SIZE = 10  # each rule makes the statement longer
_BOUNDS = """
SELECT spent_usd, edge_usd
FROM billing_balances(%s, %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s)
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
    calendar = organization.calendar
    with connection.cursor() as cursor:
        cursor.execute(
            _BOUNDS,
            [
                organization.pk,
                [rule.scope.value for rule in rules],
                [rule.value for rule in rules],
                [window_span(rule.window, calendar, now).start for rule in rules],
                [rule.fallback_price for rule in rules],
                now,
            ],
        )
        rows: list[tuple[Decimal, Decimal]] = cursor.fetchall()
    return rows


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
