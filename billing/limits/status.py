"""Compute the exact state of limits, for pages, the API and enforcement."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from billing.limits.balances import read_balances, split_by_event
from billing.limits.evaluate import evaluate, fits_at, needs_event_detail
from billing.limits.forecast import forecast
from billing.limits.types import Balance, LimitStatus, Rule
from costtrack.calendar import Calendar
from costtrack.money import ZERO
from organizations.models import Organization

_DAY = timedelta(days=1)


def statuses(*, organization: Organization, rules: Sequence[Rule], now: datetime) -> list[LimitStatus]:
    """Return the status of each rule, in order."""
    balances = read_balances(organization=organization, rules=rules, now=now)
    return _statuses(organization, rules, balances, now)


def status_and_fit(
    *, organization: Organization, rule: Rule, usd: Decimal, now: datetime
) -> tuple[LimitStatus, datetime | None]:
    """Return the status of the rule, and when a call of that amount would be authorized (None if unknown)."""
    balances = read_balances(organization=organization, rules=[rule], now=now)

    def fit(rule: Rule, balance: Balance) -> datetime | None:
        return fits_at(rule, balance, usd=usd, calendar=organization.calendar, now=now)

    (status,) = _statuses(organization, [rule], balances, now)
    (balance,) = _with_event_detail(organization, [rule], balances, fit)
    return status, fit(rule, balance)


def _statuses(
    organization: Organization, rules: Sequence[Rule], balances: Sequence[Balance], now: datetime
) -> list[LimitStatus]:
    calendar = organization.calendar

    def resets_at(rule: Rule, balance: Balance) -> datetime | None:
        return evaluate(rule, balance, calendar=calendar, now=now).resets_at

    detailed = _with_event_detail(organization, rules, balances, resets_at)
    return [_status(rule, balance, calendar, now) for rule, balance in zip(rules, detailed, strict=True)]


def _status(rule: Rule, balance: Balance, calendar: Calendar, now: datetime) -> LimitStatus:
    recent = sum((bucket.usd for bucket in balance.spend if bucket.end > now - _DAY), ZERO)
    return LimitStatus(
        rule=rule,
        evaluation=evaluate(rule, balance, calendar=calendar, now=now),
        unpriced=balance.unpriced,
        hit_at=forecast(rule, balance, recent_usd=recent, calendar=calendar, now=now),
    )


def _with_event_detail(
    organization: Organization,
    rules: Sequence[Rule],
    balances: Sequence[Balance],
    boundary: Callable[[Rule, Balance], datetime | None],
) -> list[Balance]:
    """Return the balances with events instead of full hours wherever `boundary` falls into an hour.

    Without them `boundary` would return the end of the hour instead of the time of an event.
    """
    detailed = list(balances)
    while inexact := [
        (index, bucket)
        for index, (rule, balance) in enumerate(zip(rules, detailed, strict=True))
        if (bucket := needs_event_detail(balance, boundary(rule, balance))) is not None
    ]:
        requests = [(rules[index], detailed[index], bucket) for index, bucket in inexact]
        split = split_by_event(organization=organization, requests=requests)
        for (index, _), balance in zip(inexact, split, strict=True):
            detailed[index] = balance
    return detailed
