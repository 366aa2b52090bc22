"""What a day, week and month will have cost when they are over: of the organization, its teams or its credentials."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate

from billing.limits.pace import MAX_WEEKS, WEEK, WeeklyPace
from billing.models import ForecastCheck
from billing.reports.forecast.model import HorizonCheck, HourlySpend, outlook_of
from billing.reports.forecast.spend import MAX_SERIES, read_hours
from billing.reports.usage.figures import ZERO_FIGURES, GroupBy, UsageFilter
from billing.reports.usage.totals import FiguresByKey, grouped, totals
from billing.types import LimitScope
from costtrack.calendar import Span, Unit
from organizations.models import APICredential, Organization

FORECAST_UNITS = (Unit.DAY, Unit.WEEK, Unit.MONTH)
_GROUPS = {LimitScope.TEAM: GroupBy.TEAM, LimitScope.CREDENTIAL: GroupBy.CREDENTIAL}
FORECAST_DIMENSIONS = {group: scope for scope, group in _GROUPS.items()}
_WHOLE = ""
_ALMOST_OVER = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class PeriodForecast:
    """`spent_usd` is exact. Expected amounts are of the whole period: None without a week of history. The band and its
    check are None as long as too few forecasts of the past could be tested."""

    unit: Unit
    span: Span
    spent_usd: Decimal
    expected_usd: Decimal | None = None
    low_usd: Decimal | None = None
    high_usd: Decimal | None = None
    check: HorizonCheck | None = None


@dataclass(frozen=True, slots=True)
class SeriesForecast:
    """`key` is the team or the Client ID, empty for the organization. `checks` are those of the last back-test, at
    `checked_at`."""

    key: str
    name: str
    checked_at: datetime | None
    periods: tuple[PeriodForecast, ...]
    checks: tuple[HorizonCheck, ...]

    @property
    def has_history(self) -> bool:
        return self.periods[0].expected_usd is not None


@dataclass(frozen=True, slots=True)
class DayForecast:
    """The running sum of a period at the end of a day: what is spent, None for days to come; what is expected, None for
    days that are over; and its band, None where it is not known."""

    span: Span
    spent_usd: Decimal | None
    expected_usd: Decimal | None = None
    low_usd: Decimal | None = None
    high_usd: Decimal | None = None


def forecast_by_day(*, organization: Organization, now: datetime) -> tuple[Unit, list[DayForecast]]:
    """Return the days of this month with the organization's forecast, or those of this week if it ends later and the
    month is almost over. There are none without a week of history."""
    calendar = organization.calendar
    unit = Unit.MONTH
    span = calendar.period(unit, now)
    week = calendar.period(Unit.WEEK, now)
    if span.end - now < _ALMOST_OVER and week.end > span.end:
        unit, span = Unit.WEEK, week
    hours = read_hours(organization, LimitScope.ORGANIZATION, [_WHOLE], since=now - MAX_WEEKS * WEEK, until=now)
    history = HourlySpend.of(hours.get(_WHOLE, {}), until=now, calendar=calendar)
    pace = history.pace_at(now) if history is not None else None
    if pace is None:
        return unit, []
    stored = ForecastCheck.objects.of(organization).filter(scope=LimitScope.ORGANIZATION.value, value=_WHOLE).first()
    checks = tuple(HorizonCheck(*fields) for fields in stored.horizons) if stored is not None else ()
    days = list(calendar.periods(Unit.DAY, span))
    begun = [day for day in days if day.start <= now]
    figures = totals(organization=organization, filters=UsageFilter(), windows=begun)
    sums = list(accumulate(day.cost_usd for day in figures))
    rows = []
    for index, day in enumerate(days):
        spent = sums[index] if index < len(sums) else None
        if day.end <= now:
            rows.append(DayForecast(day, spent))
            continue
        rest = outlook_of(pace, day.end - now, checks)
        low = None if rest.low_usd is None else sums[-1] + rest.low_usd
        high = None if rest.high_usd is None else sums[-1] + rest.high_usd
        rows.append(DayForecast(day, spent, sums[-1] + rest.usd, low, high))
    return unit, rows


def forecasts(*, organization: Organization, by: GroupBy | None, now: datetime) -> list[SeriesForecast]:
    """Return the forecast of the organization, or of each team or credential that was tested last night, the largest
    expected month first."""
    scope = FORECAST_DIMENSIONS[by] if by is not None else LimitScope.ORGANIZATION
    stored = ForecastCheck.objects.of(organization).filter(scope=scope.value).order_by("value")[:MAX_SERIES]
    known = {check.value: check for check in stored}
    values = list(known) if by is not None else [_WHOLE]
    if not values:
        return []
    spans = [organization.calendar.period(unit, now) for unit in FORECAST_UNITS]
    spent = grouped(organization=organization, filters=UsageFilter(), windows=spans, by=by)
    hours = read_hours(organization, scope, values, since=now - MAX_WEEKS * WEEK, until=now)
    names = _names(organization, by, values)
    rows = []
    for value in values:
        if value not in names:
            continue
        history = HourlySpend.of(hours.get(value, {}), until=now, calendar=organization.calendar)
        pace = history.pace_at(now) if history is not None else None
        check = known.get(value)
        checks = tuple(HorizonCheck(*fields) for fields in check.horizons) if check is not None else ()
        key, name = names[value]
        rows.append(
            SeriesForecast(
                key,
                name,
                check.checked_at if check is not None else None,
                tuple(_periods(value, spans, spent, pace, checks, now)),
                checks,
            )
        )
    return sorted(rows, key=lambda row: (-(row.periods[-1].expected_usd or row.periods[-1].spent_usd), row.key))


def _periods(
    value: str,
    spans: Sequence[Span],
    spent: Sequence[FiguresByKey],
    pace: WeeklyPace | None,
    checks: Sequence[HorizonCheck],
    now: datetime,
) -> list[PeriodForecast]:
    periods = []
    for unit, span, figures in zip(FORECAST_UNITS, spans, spent, strict=True):
        usd = figures.get(value, ZERO_FIGURES).cost_usd
        if pace is None:
            periods.append(PeriodForecast(unit, span, usd))
            continue
        rest = outlook_of(pace, max(span.end - now, timedelta()), checks)
        low = None if rest.low_usd is None else usd + rest.low_usd
        high = None if rest.high_usd is None else usd + rest.high_usd
        periods.append(PeriodForecast(unit, span, usd, usd + rest.usd, low, high, rest.check))
    return periods


def _names(organization: Organization, by: GroupBy | None, values: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the public key and the display name of each value; credentials that are not the organization's have
    none."""
    if by is not GroupBy.CREDENTIAL:
        return {value: (value, value) for value in values}
    credentials = APICredential.objects.of(organization).filter(pk__in=[int(value) for value in values])
    return {str(credential.pk): (credential.client_id, credential.name) for credential in credentials}
