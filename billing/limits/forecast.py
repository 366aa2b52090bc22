"""Forecast when a limit will be reached. Pure.

The pace knows the weekday and the hour (`billing.limits.pace`). With less than a week of history it is the rate of the
last 24 hours, or since the window began if that is more recent. The forecast includes spend that leaves a rolling
window and raises that end. Reserved amounts do not count, because they may not be spent.
"""

from datetime import datetime
from decimal import Decimal

from billing.limits.evaluate import amount_at
from billing.limits.limit_windows import ROLLING, window_span
from billing.limits.pace import MAX_HORIZON, RATE_PERIOD, Pace, Rate, WeeklyPace
from billing.limits.types import Balance, Rule
from costtrack.calendar import Calendar, Window
from costtrack.money import ZERO


def forecast(
    rule: Rule,
    balance: Balance,
    *,
    recent_usd: Decimal,
    pace: WeeklyPace | None = None,
    calendar: Calendar,
    now: datetime,
) -> datetime | None:
    """Return when spend will reach the amount, to the microsecond.

    `recent_usd` is the spend of the last 24 hours, which counts if the pace is unknown. None if the amount is already
    reached, nothing is being spent, the window or the limit ends before, or it would take longer than `MAX_HORIZON`.
    """
    span = window_span(rule.window, calendar, now, rule.period)
    rate = _rate(rule, balance, span, recent_usd, now) if pace is None else pace
    spent_usd = balance.spent_usd
    if rate.is_zero or spent_usd >= rule.amount_usd:
        return None
    start, end = now, _end(rule, span, now)
    for at, leaving in [*_changes(rule, balance, now, end), (end, ZERO)]:
        reached = max(start, now + rate.time_for(amount_at(rule, start) - spent_usd))
        if reached < at:
            return reached
        start, spent_usd = at, spent_usd - leaving
    return _reached_at_steady_spend(rule, balance, rate, now) if rule.window in ROLLING else None


def _reached_at_steady_spend(rule: Rule, balance: Balance, pace: Pace, now: datetime) -> datetime | None:
    """Return when a rolling limit will be reached once it only has spend at this pace: it can be reached then because
    other hours of the week begin, a raise ends, or a negative amount leaves the window."""
    duration = ROLLING[rule.window]
    start, end = now + duration, _limit_end(rule, now)
    changes = {at for at, _ in _changes(rule, balance, start, end)}
    for at in sorted({start, *changes, *(start + step for step in pace.steps)}):
        steady_usd = pace.usd_between(at - duration - now, at - now)
        remaining_usd = sum((bucket.usd for bucket in balance.spend if bucket.end + duration > at), ZERO)
        if at < end and steady_usd + remaining_usd >= amount_at(rule, at):
            return at
    return None


def _rate(rule: Rule, balance: Balance, span: Window, recent_usd: Decimal, now: datetime) -> Rate:
    began = None if rule.window in ROLLING else span.start
    if began is None or now - began >= RATE_PERIOD:
        return Rate(recent_usd, RATE_PERIOD)
    return Rate(balance.spent_usd, now - began) if now > began else Rate(ZERO, RATE_PERIOD)


def _end(rule: Rule, span: Window, now: datetime) -> datetime:
    """Return when spend no longer grows: at the end of the window or of the limit, and in a rolling window after its
    duration, when as much leaves as is spent."""
    end = now + ROLLING[rule.window] if rule.window in ROLLING else span.end
    limit_end = _limit_end(rule, now)
    return limit_end if end is None else min(end, limit_end)


def _limit_end(rule: Rule, now: datetime) -> datetime:
    return now + MAX_HORIZON if rule.period.end is None else min(rule.period.end, now + MAX_HORIZON)


def _changes(rule: Rule, balance: Balance, now: datetime, end: datetime) -> list[tuple[datetime, Decimal]]:
    """Return the times at which the remaining amount changes in a step, each with the spend that leaves the window."""
    changes = [] if rule.raised_until is None else [(rule.raised_until, ZERO)]
    if rule.window in ROLLING:
        changes += [(bucket.end + ROLLING[rule.window], bucket.usd) for bucket in balance.spend]
    return sorted((at, usd) for at, usd in changes if now < at < end)
