"""When a limit will be reached if spend goes on as it did lately. Pure.

The rate is that of the last 24 hours or, where the window is younger, since it began. What leaves a rolling window
meanwhile makes room, and a raise that ends takes some; what is held does not count, as it need not be spent.
"""

from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from billing.limits.evaluate import ROLLING, amount_at, span_of
from billing.limits.types import Balance, Rule, WindowSpan
from billing.types import LimitWindow
from costtrack.calendar import Calendar
from costtrack.money import ZERO

LATELY = timedelta(hours=24)
FARTHEST = timedelta(days=3653)
"""What would take longer than ten years is not foreseen."""

_MOMENT = timedelta(microseconds=1)
_MAX_MOMENTS = Decimal(FARTHEST // _MOMENT)


class Rate(NamedTuple):
    """So much in so much time."""

    usd: Decimal
    during: timedelta

    def time_for(self, usd: Decimal) -> timedelta:
        """How long it takes to spend that, in whole microseconds: no time for less than nothing, at most `FARTHEST`."""
        moments = min(max(usd, ZERO) * (self.during // _MOMENT) / self.usd, _MAX_MOMENTS)
        return int(moments.to_integral_value(ROUND_CEILING)) * _MOMENT


def forecast(
    rule: Rule, balance: Balance, *, recent_usd: Decimal, calendar: Calendar, now: datetime
) -> datetime | None:
    """The first instant at which spend will be at the amount, to the microsecond.

    `recent_usd` is what the scope has spent in the last 24 hours. None: it is reached already, nothing is being spent,
    the calendar window ends before, or it would take longer than `FARTHEST`.
    """
    span = span_of(rule.window, calendar, now)
    rate, left = _rate(rule, balance, span, recent_usd, now), balance.spent_usd
    if rate.usd <= 0 or left >= rule.amount_usd:
        return None
    start, end = now, _end(rule, span, now)
    for at, leaving in [*_changes(rule, balance, now, end), (end, ZERO)]:
        reached = max(start, now + rate.time_for(amount_at(rule, start) - left))
        if reached < at:
            return reached
        start, left = at, left - leaving
    return None


def _rate(rule: Rule, balance: Balance, span: WindowSpan, recent_usd: Decimal, now: datetime) -> Rate:
    began = None if rule.window is LimitWindow.ROLLING_7D else span.start
    if began is None or now - began >= LATELY:
        return Rate(recent_usd, LATELY)
    return Rate(balance.spent_usd, now - began) if now > began else Rate(ZERO, LATELY)


def _end(rule: Rule, span: WindowSpan, now: datetime) -> datetime:
    """Where looking ahead ends. A rolling window that is not full after its own length will never be at this rate."""
    if rule.window is LimitWindow.ROLLING_7D:
        return now + ROLLING
    return span.end if span.end is not None else now + FARTHEST


def _changes(rule: Rule, balance: Balance, now: datetime, end: datetime) -> list[tuple[datetime, Decimal]]:
    """The instants between at which there is more or less room all of a sudden, and what leaves the window then."""
    found = [] if rule.raised_until is None else [(rule.raised_until, ZERO)]
    if rule.window is LimitWindow.ROLLING_7D:
        found += [(bucket.end + ROLLING, bucket.usd) for bucket in balance.spend]
    return sorted((at, usd) for at, usd in found if now < at < end)
