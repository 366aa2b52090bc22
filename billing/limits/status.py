"""How limits stand now, to the last digit and the very instant: for people, programs and enforcement."""

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
    """How each of these limits stands, in their order."""
    found = read_balances(organization=organization, rules=rules, now=now)
    return _statuses(organization, rules, found, now)


def status_and_fit(
    *, organization: Organization, rule: Rule, usd: Decimal, now: datetime
) -> tuple[LimitStatus, datetime | None]:
    """How the limit stands, and from when on a call of that amount would be granted (None: not in sight)."""
    found = read_balances(organization=organization, rules=[rule], now=now)

    def fit(rule: Rule, balance: Balance) -> datetime | None:
        return fits_at(rule, balance, usd=usd, calendar=organization.calendar, now=now)

    (status,) = _statuses(organization, [rule], found, now)
    (balance,) = _sharpened(organization, [rule], found, fit)
    return status, fit(rule, balance)


def _statuses(
    organization: Organization, rules: Sequence[Rule], found: Sequence[Balance], now: datetime
) -> list[LimitStatus]:
    calendar = organization.calendar

    def resets_at(rule: Rule, balance: Balance) -> datetime | None:
        return evaluate(rule, balance, calendar=calendar, now=now).resets_at

    sharp = _sharpened(organization, rules, found, resets_at)
    return [_status(rule, balance, calendar, now) for rule, balance in zip(rules, sharp, strict=True)]


def _status(rule: Rule, balance: Balance, calendar: Calendar, now: datetime) -> LimitStatus:
    recent = sum((bucket.usd for bucket in balance.spend if bucket.end > now - _DAY), ZERO)
    return LimitStatus(
        rule=rule,
        evaluation=evaluate(rule, balance, calendar=calendar, now=now),
        unpriced=balance.unpriced,
        hit_at=forecast(rule, balance, recent_usd=recent, calendar=calendar, now=now),
    )


def _sharpened(
    organization: Organization,
    rules: Sequence[Rule],
    found: Sequence[Balance],
    question: Callable[[Rule, Balance], datetime | None],
) -> list[Balance]:
    """The readings in which the answers are not the end of a whole hour, but of an event."""
    sharp = list(found)
    while blurs := [
        (place, bucket)
        for place, (rule, balance) in enumerate(zip(rules, sharp, strict=True))
        if (bucket := needs_event_detail(balance, question(rule, balance))) is not None
    ]:
        wanted = [(rules[place], sharp[place], bucket) for place, bucket in blurs]
        apart = split_by_event(organization=organization, wanted=wanted)
        for (place, _), balance in zip(blurs, apart, strict=True):
            sharp[place] = balance
    return sharp
