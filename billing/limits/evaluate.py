"""Evaluate a limit: a pure function of its rule, its balance and the current time.

Access is paused if and only if spend has reached the amount. An authorization fits if spend, reserved amounts and its
own amount together do not exceed the limit's amount (docs/decisions/017-exact-limits.md).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from billing.limits.limit_windows import ROLLING, window_span
from billing.limits.types import Balance, Bucket, Evaluation, Rule
from billing.types import LimitAction, LimitState, OverrideKind
from costtrack.calendar import Calendar, Window
from costtrack.money import ZERO

_PERCENT = Decimal(100)
_NOTHING = Decimal("-Infinity")


class Decrease(NamedTuple):
    """An amount, spent or reserved, that stops counting at `at`."""

    at: datetime
    usd: Decimal
    is_spend: bool


class ProjectedState(NamedTuple):
    """The state of a limit from `at` on, if nothing else happens. Overrides end at their set time."""

    at: datetime
    spent_usd: Decimal
    reserved_usd: Decimal
    amount_usd: Decimal
    max_committed_usd: Decimal | None

    @property
    def is_reached(self) -> bool:
        return self.spent_usd >= self.amount_usd

    def fits(self, usd: Decimal) -> bool:
        """Whether an amount can be reserved. `billing_reserve` decides in the same way, from the same maximum."""
        maximum = self.max_committed_usd
        return maximum is None or (self.spent_usd < maximum and self.spent_usd + self.reserved_usd + usd <= maximum)


def amount_at(rule: Rule, at: datetime) -> Decimal:
    """Return the limit's amount at a later time; a raise may have ended by then."""
    is_raised = rule.raised_until is None or at < rule.raised_until
    return rule.amount_usd if is_raised else rule.base_amount_usd


def max_committed_usd(rule: Rule, at: datetime | None = None) -> Decimal | None:
    """Return the maximum of spent and reserved amounts; None if the limit refuses nothing. `at` is a later time."""
    override = rule.manual_override
    if override is not None and (at is None or override.until is None or at < override.until):
        return _NOTHING if override.kind is OverrideKind.PAUSE else None
    if rule.action is LimitAction.NOTIFY or rule.ignores_spend:
        return None
    return rule.amount_usd if at is None else amount_at(rule, at)


def evaluate(rule: Rule, balance: Balance, *, calendar: Calendar, now: datetime) -> Evaluation:
    """Return the state of the limit. `balance` must only contain spend inside the window."""
    spent, reserved = balance.spent_usd, balance.reserved_usd
    span = window_span(rule.window, calendar, now, rule.period)
    return Evaluation(
        state=_state(rule, spent),
        spent_usd=spent,
        reserved_usd=reserved,
        remaining_usd=max(rule.amount_usd - spent - reserved, ZERO),
        span=span,
        resets_at=_resets_at(rule, balance, calendar, now),
        as_of=now,
    )


def resets_or_ends_at(rule: Rule, evaluation: Evaluation) -> datetime | None:
    """Return when spend is below the amount again or, if it has not reached the amount, when the window ends. None if
    that is unknown: a limit of 0 does not reset at the end of its window."""
    return evaluation.resets_at if evaluation.spent_usd >= rule.amount_usd else evaluation.span.end


def fits_at(rule: Rule, balance: Balance, *, usd: Decimal, calendar: Calendar, now: datetime) -> datetime | None:
    """Return the first time at which a call of that amount would be authorized if nothing else were spent.

    That is now, or when enough spend has left the window, enough authorizations have expired, or a manual pause ends.
    None if no such time can be foreseen.
    """
    found = (state.at for state in _projected_states(rule, balance, calendar, now) if state.fits(usd))
    return next(found, None)


def needs_event_detail(rule: Rule, balance: Balance, at: datetime | None) -> Bucket | None:
    """Return the bucket whose spend leaves the window around `at`, if it covers more than one event.

    Its single events are needed to compute the exact time.
    """
    if at is None:
        return None
    leaves_after = ROLLING.get(rule.window, timedelta())
    found = (
        bucket for bucket in balance.spend if bucket.start < bucket.end and _contains_boundary(bucket, at, leaves_after)
    )
    return next(found, None)


def _contains_boundary(bucket: Bucket, at: datetime, leaves_after: timedelta) -> bool:
    """Whether spend of the bucket leaves a rolling window around `at`, or a calendar window ends inside the bucket."""
    return bucket.start + leaves_after < at <= bucket.end + leaves_after or bucket.start < at < bucket.end


def _state(rule: Rule, spent: Decimal) -> LimitState:
    if rule.is_paused_manually:
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
    found = (state.at for state in _projected_states(rule, balance, calendar, now) if not state.is_reached)
    return next(found, None)


def _projected_states(rule: Rule, balance: Balance, calendar: Calendar, now: datetime) -> Iterator[ProjectedState]:
    """Yield the state now, and at every later time at which it changes."""
    spent, reserved = balance.spent_usd, balance.reserved_usd
    yield _state_at(rule, now, spent, reserved)
    spend_decreases = _spend_decreases(rule, balance, calendar, window_span(rule.window, calendar, now, rule.period))
    decreases = [*spend_decreases, *_reservation_decreases(balance), *_override_ends(rule)]
    for at, together in groupby(sorted(decreases), key=attrgetter("at")):
        for decrease in together:
            if decrease.is_spend:
                spent -= decrease.usd
            else:
                reserved -= decrease.usd
        yield _state_at(rule, at, spent, reserved)


def _state_at(rule: Rule, at: datetime, spent: Decimal, reserved: Decimal) -> ProjectedState:
    return ProjectedState(at, spent, reserved, amount_at(rule, at), max_committed_usd(rule, at))


def _spend_decreases(rule: Rule, balance: Balance, calendar: Calendar, span: Window) -> Iterator[Decrease]:
    """Yield when spend stops counting: at the end of a calendar window, or when it leaves a rolling window.

    Spend dated after the end of the current calendar window also counts in the next one.
    """
    for bucket in balance.spend:
        if rule.window in ROLLING:
            yield Decrease(bucket.end + ROLLING[rule.window], bucket.usd, is_spend=True)
        elif span.end is not None:
            is_inside = bucket.start < span.end
            end = span.end if is_inside else window_span(rule.window, calendar, bucket.start, rule.period).end
            if end is not None:
                yield Decrease(end, bucket.usd, is_spend=True)


def _reservation_decreases(balance: Balance) -> Iterator[Decrease]:
    for reservation in balance.reservations:
        yield Decrease(reservation.expires_at, reservation.usd, is_spend=False)


def _override_ends(rule: Rule) -> Iterator[Decrease]:
    """Yield the times at which overrides end; nothing stops counting, but the state changes."""
    for until in (rule.raised_until, rule.manual_override.until if rule.manual_override is not None else None):
        if until is not None:
            yield Decrease(until, ZERO, is_spend=False)
