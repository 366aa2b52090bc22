"""How a limit stands: a pure function of the limit, what was spent and is held, and the instant.

A scope is paused when, and only when, spend has reached the amount; an authorization fits when spend, what is held and
its own amount are together at most the amount (docs/decisions/017-exact-limits.md).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from billing.limits.types import Balance, Bucket, Evaluation, Rule, WindowSpan
from billing.types import ExceptionKind, LimitAction, LimitState, LimitWindow
from costtrack.calendar import Calendar, Unit
from costtrack.money import ZERO

ROLLING = timedelta(days=7)
_MOMENT = timedelta(microseconds=1)
_UNITS = {
    LimitWindow.CALENDAR_DAY: Unit.DAY,
    LimitWindow.CALENDAR_WEEK: Unit.WEEK,
    LimitWindow.CALENDAR_MONTH: Unit.MONTH,
}
_PERCENT = Decimal(100)


class Leaving(NamedTuple):
    """An amount that counts before `at` and no more from then on: spend, or a hold."""

    at: datetime
    usd: Decimal
    is_spend: bool


class Standing(NamedTuple):
    """How a limit stands from an instant on if nothing else happens: exceptions from it end by themselves."""

    at: datetime
    spent_usd: Decimal
    reserved_usd: Decimal
    amount_usd: Decimal
    by_hand: ExceptionKind | None

    @property
    def is_reached(self) -> bool:
        return self.spent_usd >= self.amount_usd


def span_of(window: LimitWindow, calendar: Calendar, now: datetime) -> WindowSpan:
    """What counts at `now`. What was spent exactly seven days ago does not count any more in a rolling window."""
    if window is LimitWindow.LIFETIME:
        return WindowSpan(None, None)
    if window is LimitWindow.ROLLING_7D:
        return WindowSpan(now - ROLLING + _MOMENT, None)
    return WindowSpan(*calendar.period(_UNITS[window], now))


def amount_at(rule: Rule, at: datetime) -> Decimal:
    """What the limit's amount will be then: a raise ends by itself."""
    is_raised = rule.raised_until is None or at < rule.raised_until
    return rule.amount_usd if is_raised else rule.base_amount_usd


def evaluate(rule: Rule, balance: Balance, *, calendar: Calendar, now: datetime) -> Evaluation:
    """The state of the limit. `balance` holds what was spent inside the window, and nothing else."""
    spent, reserved = balance.spent_usd, balance.reserved_usd
    span = span_of(rule.window, calendar, now)
    return Evaluation(
        state=_state(rule, spent),
        spent_usd=spent,
        reserved_usd=reserved,
        remaining_usd=max(rule.amount_usd - spent - reserved, ZERO),
        span=span,
        resets_at=_resets_at(rule, balance, calendar, now),
        as_of=now,
    )


def fits_at(rule: Rule, balance: Balance, *, usd: Decimal, calendar: Calendar, now: datetime) -> datetime | None:
    """From when on a call of that amount would be granted if nothing else were spent: now, when enough spend has left
    the window, when enough of what is held has expired, or when a pause by hand ends. None: not in sight."""
    found = (standing.at for standing in _standings(rule, balance, calendar, now) if _fits(rule, usd, standing))
    return next(found, None)


def needs_event_detail(balance: Balance, at: datetime | None) -> Bucket | None:
    """The bucket out of which spend leaves its window around `at`, if it is a whole one: its events tell the very
    instant."""
    if at is None:
        return None
    found = (bucket for bucket in balance.spend if bucket.start < bucket.end and _is_leaving(bucket, at))
    return next(found, None)


def _is_leaving(bucket: Bucket, at: datetime) -> bool:
    """A rolling window, or a calendar one that ends at `at`, in the middle of an hour."""
    return bucket.start + ROLLING < at <= bucket.end + ROLLING or bucket.start < at < bucket.end


def _state(rule: Rule, spent: Decimal) -> LimitState:
    if rule.is_paused_by_hand:
        return LimitState.PAUSED
    if spent >= rule.amount_usd:
        return LimitState.PAUSED if rule.pauses else LimitState.EXCEEDED
    warns_at = [rule.amount_usd * threshold / _PERCENT for threshold in rule.thresholds]
    if rule.soft_amount_usd is not None:
        warns_at.append(rule.soft_amount_usd)
    return LimitState.WARNING if any(spent >= amount for amount in warns_at) else LimitState.OK


def _resets_at(rule: Rule, balance: Balance, calendar: Calendar, now: datetime) -> datetime | None:
    if balance.spent_usd < rule.amount_usd:
        return None
    found = (standing.at for standing in _standings(rule, balance, calendar, now) if not standing.is_reached)
    return next(found, None)


def _fits(rule: Rule, usd: Decimal, standing: Standing) -> bool:
    if standing.by_hand is ExceptionKind.PAUSE:
        return False
    if standing.by_hand is ExceptionKind.OPEN or rule.action is LimitAction.NOTIFY:
        return True
    return not standing.is_reached and standing.spent_usd + standing.reserved_usd + usd <= standing.amount_usd


def _standings(rule: Rule, balance: Balance, calendar: Calendar, now: datetime) -> Iterator[Standing]:
    """Now, and from every instant on at which anything changes."""
    spent, held = balance.spent_usd, balance.reserved_usd
    yield _standing(rule, now, spent, held)
    spend_leaving = _spend_leaving(rule, balance, calendar, span_of(rule.window, calendar, now))
    leaving = [*spend_leaving, *_holds_leaving(balance), *_exceptions_ending(rule)]
    for at, together in groupby(sorted(leaving), key=attrgetter("at")):
        for one in together:
            spent, held = (spent - one.usd, held) if one.is_spend else (spent, held - one.usd)
        yield _standing(rule, at, spent, held)


def _standing(rule: Rule, at: datetime, spent: Decimal, held: Decimal) -> Standing:
    by_hand = rule.by_hand
    reservations = by_hand is not None and (by_hand.until is None or at < by_hand.until)
    return Standing(
        at, spent, held, amount_at(rule, at), by_hand.kind if by_hand is not None and reservations else None
    )


def _spend_leaving(rule: Rule, balance: Balance, calendar: Calendar, span: WindowSpan) -> Iterator[Leaving]:
    """Everything leaves a calendar window together, and a rolling one seven days after it was spent. What is told to be
    spent after the calendar window's end counts in the next one, too."""
    for bucket in balance.spend:
        if rule.window is LimitWindow.ROLLING_7D:
            yield Leaving(bucket.end + ROLLING, bucket.usd, is_spend=True)
        elif span.end is not None:
            is_inside = bucket.start < span.end
            end = span.end if is_inside else calendar.period(_UNITS[rule.window], bucket.start).end
            yield Leaving(end, bucket.usd, is_spend=True)


def _holds_leaving(balance: Balance) -> Iterator[Leaving]:
    for hold in balance.reservations:
        yield Leaving(hold.expires_at, hold.usd, is_spend=False)


def _exceptions_ending(rule: Rule) -> Iterator[Leaving]:
    """Nothing leaves then, but the limit stands otherwise."""
    for until in (rule.raised_until, rule.by_hand.until if rule.by_hand is not None else None):
        if until is not None:
            yield Leaving(until, ZERO, is_spend=False)
