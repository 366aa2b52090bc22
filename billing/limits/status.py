"""How limits stand now, to the last digit and the very instant: for people, programs and enforcement."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from billing.limits.balances import readings, taken_apart
from billing.limits.evaluate import blurred, evaluate, fits_at
from billing.limits.forecast import forecast
from billing.limits.types import LimitStatus, Reading, Rule
from costtrack.calendar import Calendar
from costtrack.money import ZERO
from organizations.models import Organization

_DAY = timedelta(days=1)


def statuses(*, organization: Organization, rules: Sequence[Rule], now: datetime) -> list[LimitStatus]:
    """How each of these limits stands, in their order."""
    found = readings(organization=organization, rules=rules, now=now)
    return _statuses(organization, rules, found, now)


def status_and_fit(
    *, organization: Organization, rule: Rule, usd: Decimal, now: datetime
) -> tuple[LimitStatus, datetime | None]:
    """How the limit stands, and from when on a call of that amount would be granted (None: not in sight)."""
    found = readings(organization=organization, rules=[rule], now=now)

    def fit(rule: Rule, reading: Reading) -> datetime | None:
        return fits_at(rule, reading, usd=usd, calendar=organization.calendar, now=now)

    (status,) = _statuses(organization, [rule], found, now)
    (reading,) = _sharpened(organization, [rule], found, fit)
    return status, fit(rule, reading)


def _statuses(
    organization: Organization, rules: Sequence[Rule], found: Sequence[Reading], now: datetime
) -> list[LimitStatus]:
    calendar = organization.calendar

    def resets_at(rule: Rule, reading: Reading) -> datetime | None:
        return evaluate(rule, reading, calendar=calendar, now=now).resets_at

    sharp = _sharpened(organization, rules, found, resets_at)
    return [_status(rule, reading, calendar, now) for rule, reading in zip(rules, sharp, strict=True)]


def _status(rule: Rule, reading: Reading, calendar: Calendar, now: datetime) -> LimitStatus:
    recent = sum((bucket.usd for bucket in reading.spend if bucket.end > now - _DAY), ZERO)
    return LimitStatus(
        rule=rule,
        evaluation=evaluate(rule, reading, calendar=calendar, now=now),
        unpriced=reading.unpriced,
        hit_at=forecast(rule, reading, recent_usd=recent, calendar=calendar, now=now),
    )


def _sharpened(
    organization: Organization,
    rules: Sequence[Rule],
    found: Sequence[Reading],
    question: Callable[[Rule, Reading], datetime | None],
) -> list[Reading]:
    """The readings in which the answers are not the end of a whole hour, but of an event."""
    sharp = list(found)
    while blurs := [
        (place, bucket)
        for place, (rule, reading) in enumerate(zip(rules, sharp, strict=True))
        if (bucket := blurred(reading, question(rule, reading))) is not None
    ]:
        wanted = [(rules[place], sharp[place], bucket) for place, bucket in blurs]
        apart = taken_apart(organization=organization, wanted=wanted)
        for (place, _), reading in zip(blurs, apart, strict=True):
            sharp[place] = reading
    return sharp
