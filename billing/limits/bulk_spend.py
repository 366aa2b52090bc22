"""What has been spent under many limits at once, as exactly as crossings need it.

The rollups have whole hours. Of the hour in which a window begins they tell only what it can have cost at most
(`billing_meter`), which is nothing where windows begin with an hour; where it makes a difference, the single events of
that hour tell (`billing.limits.balances`).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from django.db import connection

from billing.limits.balances import read_balances
from billing.limits.evaluate import span_of
from billing.limits.threshold_events import lowest_level
from billing.limits.types import Rule
from organizations.models import Organization

T = TypeVar("T")

_METERED_AT_ONCE = 1000
_READ_AT_ONCE = 10  # each rule makes the statement longer
_METER = """
SELECT spent, edge FROM billing_meter(%s, %s::text[], %s::text[], %s::timestamptz[], %s::numeric[], %s) ORDER BY place
"""


def spend_of_rules(*, organization: Organization, rules: Sequence[Rule], now: datetime) -> list[Decimal]:
    """What was spent under each rule, in their order. (If that is less than its lowest threshold, it may be less than
    what was spent, but that is less than the threshold, too.)"""
    metered = [found for some in _parts(rules, _METERED_AT_ONCE) for found in _meter(organization, some, now)]
    spent = [surely for surely, _ in metered]
    unsure = [
        place for place, (surely, edge) in enumerate(metered) if edge and surely + edge >= lowest_level(rules[place])
    ]
    for places in _parts(unsure, _READ_AT_ONCE):
        found = read_balances(organization=organization, rules=[rules[place] for place in places], now=now)
        for place, balance in zip(places, found, strict=True):
            spent[place] = balance.spent_usd
    return spent


def _meter(organization: Organization, rules: Sequence[Rule], now: datetime) -> list[tuple[Decimal, Decimal]]:
    """What was surely spent, and what may have been spent beside it in the hour in which the window begins."""
    calendar = organization.calendar
    with connection.cursor() as cursor:
        cursor.execute(
            _METER,
            [
                organization.pk,
                [rule.scope.value for rule in rules],
                [rule.value for rule in rules],
                [span_of(rule.window, calendar, now).start for rule in rules],
                [rule.fallback_price for rule in rules],
                now,
            ],
        )
        rows: list[tuple[Decimal, Decimal]] = cursor.fetchall()
    return rows


def _parts(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(whole), size):
        yield whole[start : start + size]
