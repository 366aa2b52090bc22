"""Hours and days whose spend is outside their band. Pure.

    windows = windows_outside(spend, day, min_usd=1.0)

The expected amount of an hour or a day is the forecast that was made at the first hour of its local day
(`billing.reports.forecast.model`). A deviation is the logarithm of the ratio of the spend to the expected amount, both
with a tenth of the average added, so that an hour at night is not infinitely unusual. The band ends at a multiple of
the third largest deviation of the last eight weeks, counting each day once, so that one or two incidents do not widen
it. It also includes amounts that are usual whatever is expected (`_band`), such as those of a job that runs at another
hour or at the end of each month.

A series without six weeks of history has no band, and is quiet. Hours are only compared with the upper end, because an
hour whose last events have not arrived is below the lower end.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import exp, log
from typing import NamedTuple, Self

from billing.limits.pace import HOURS_OF_WEEK, MAX_WEEKS, WEEK
from billing.reports.forecast.model import HourlySpend
from costtrack.calendar import Span, Unit
from costtrack.clock import DAY, HOUR

MIN_DAYS = 35
"""How many of the last eight weeks' days must have a forecast. The first one has it after a week."""
_HISTORY_DAYS = 56
PAST = _HISTORY_DAYS * DAY + MAX_WEEKS * WEEK
"""How much of the past the bands of a day are made from."""
_SMOOTHING = 0.1
_USUAL_DAYS, _USUAL_WEEKDAYS = 3, 2
_HOUR_FACTOR, _HIGH_FACTOR, _LOW_FACTOR = 2.0, 2.25, 2.5
_MIN_HOUR_WIDTH, _MIN_DAY_WIDTH = log(2.0), log(1.5)
_OUTLIER, _MONTHLY_OUTLIER = 1.5, 2.0
_MONTH_AGO = tuple(days * DAY for days in range(28, 34))
_WEEKS_AGO = tuple(weeks * WEEK for weeks in range(1, _HISTORY_DAYS // 7 + 1))


class OutsideWindow(NamedTuple):
    """An hour or a day whose spend is outside its band, in US dollars."""

    unit: Unit
    span: Span
    expected_usd: float
    low_usd: float
    high_usd: float
    actual_usd: float

    @property
    def is_rise(self) -> bool:
        return self.actual_usd > self.high_usd


class PastDay(NamedTuple):
    """A day in comparison with its forecast: the largest deviation of an hour, and that of the day; and the spend of
    the most expensive hour, and of the day."""

    hour_deviation: float
    day_deviation: float
    hour_usd: float
    usd: float


class _Band(NamedTuple):
    """The deviations that a band includes, and amounts that are within it whatever is expected."""

    hour_width: float = _MIN_HOUR_WIDTH
    low_width: float = _MIN_DAY_WIDTH
    high_width: float = _MIN_DAY_WIDTH
    hour_usd: float = 0.0
    low_usd: float = float("inf")
    high_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class _Day:
    """A local day with its forecast. `actual` ends with the last full hour. `average` is what an hour of the next week
    is expected to cost."""

    span: Span
    expected: Sequence[float]
    actual: Sequence[float]
    average: float

    @classmethod
    def of(cls, spend: HourlySpend, day: date) -> Self | None:
        """Return None for a day before the second week, and for a series that has been idle for a week."""
        first, end = (-((spend.start - spend.calendar.start_of(local)) // HOUR) for local in (day, day + DAY))
        if not 0 <= first < len(spend.usd):
            return None
        start = spend.start + first * HOUR
        pace = spend.pace_at(start)
        if pace is None or pace.is_zero:
            return None
        return cls(
            Span(start, spend.start + end * HOUR),
            [pace.sums[index + 1] - pace.sums[index] for index in range(end - first)],
            spend.usd[first:end],
            pace.sums[-1] / HOURS_OF_WEEK,
        )

    @property
    def past(self) -> PastDay:
        hours = zip(self.actual, self.expected, strict=True)
        return PastDay(
            max(_deviation(actual, expected, self.average) for actual, expected in hours),
            _deviation(sum(self.actual), sum(self.expected), self.average * len(self.expected)),
            max(self.actual),
            sum(self.actual),
        )

    def outside(self, band: _Band, min_usd: float) -> Iterator[OutsideWindow]:
        """Yield the hours and, if it is over, the day that are outside a band."""
        for index, actual in enumerate(self.actual):
            expected = self.expected[index]
            high = max(_amount(expected, band.hour_width, self.average), band.hour_usd)
            if actual > high and actual - expected >= min_usd:
                start, low = self.span.start + index * HOUR, _amount(expected, -band.hour_width, self.average)
                yield OutsideWindow(Unit.HOUR, Span(start, start + HOUR), expected, low, high, actual)
        if len(self.actual) < len(self.expected):
            return
        actual, expected, average = sum(self.actual), sum(self.expected), self.average * len(self.expected)
        low = min(_amount(expected, -band.low_width, average), band.low_usd)
        high = max(_amount(expected, band.high_width, average), band.high_usd)
        if not low <= actual <= high and abs(actual - expected) >= min_usd:
            yield OutsideWindow(Unit.DAY, self.span, expected, low, high, actual)


def windows_outside(
    spend: HourlySpend, day: date, *, min_usd: float, known: MutableMapping[date, PastDay | None] | None = None
) -> list[OutsideWindow]:
    """Return the full hours of a local day that are above their band, and the day if it is over and outside its band.

    Differences of less than `min_usd` are not meaningful. `known` has the past days of earlier calls for the same
    spend, and gets those of this one.
    """
    forecast = _Day.of(spend, day)
    if forecast is None or not any(forecast.outside(_Band(), min_usd)):
        return []
    past = _past_days(spend, day, {} if known is None else known)
    return [] if len(past) < MIN_DAYS else list(forecast.outside(_band(day, past), min_usd))


def _past_days(spend: HourlySpend, day: date, known: MutableMapping[date, PastDay | None]) -> Mapping[date, PastDay]:
    days = [day - ago * DAY for ago in range(1, _HISTORY_DAYS + 1)]
    for past_day in days:
        if past_day not in known:
            forecast = _Day.of(spend, past_day)
            known[past_day] = forecast.past if forecast is not None else None
    return {past_day: past for past_day in days if (past := known[past_day]) is not None}


def _band(day: date, past: Mapping[date, PastDay]) -> _Band:
    """Return the band of a day.

    Usual are 1.5 times the third most expensive hour of the past days, the third most expensive day, 1.5 times the
    second most expensive day of the same weekday, and twice what was unusual a month before. A drop is below two thirds
    of each of the last days of the same weekday.
    """
    days = past.values()
    hour_width = max(
        _HOUR_FACTOR * _largest(_USUAL_DAYS, (past_day.hour_deviation for past_day in days)), _MIN_HOUR_WIDTH
    )
    high_width = max(
        _HIGH_FACTOR * _largest(_USUAL_DAYS, (past_day.day_deviation for past_day in days)), _MIN_DAY_WIDTH
    )
    low_width = max(_LOW_FACTOR * _largest(_USUAL_DAYS, (-past_day.day_deviation for past_day in days)), _MIN_DAY_WIDTH)
    weeks_ago = [past[day - ago].usd for ago in _WEEKS_AGO if day - ago in past]
    month_ago = [past[day - ago] for ago in _MONTH_AGO if day - ago in past]
    usual_hour = _largest(_USUAL_DAYS, (past_day.hour_usd for past_day in days))
    usual_day = max(
        _largest(_USUAL_DAYS, (past_day.usd for past_day in days)), _OUTLIER * _largest(_USUAL_WEEKDAYS, weeks_ago)
    )
    unusual_hours = [past_day.hour_usd for past_day in month_ago if past_day.hour_deviation > hour_width]
    unusual_days = [past_day.usd for past_day in month_ago if past_day.day_deviation > high_width]
    return _Band(
        hour_width=hour_width,
        low_width=low_width,
        high_width=high_width,
        hour_usd=max(_OUTLIER * usual_hour, _MONTHLY_OUTLIER * max(unusual_hours, default=0.0)),
        low_usd=min(weeks_ago[:MAX_WEEKS], default=0.0) / _OUTLIER,
        high_usd=max(usual_day, _MONTHLY_OUTLIER * max(unusual_days, default=0.0)),
    )


def _largest(number: int, values: Iterable[float]) -> float:
    """Return the so many-th largest value, or the smallest one if there are fewer; 0 without values."""
    ordered = sorted(values, reverse=True)[:number]
    return ordered[-1] if ordered else 0.0


def _deviation(actual: float, expected: float, average: float) -> float:
    added = _SMOOTHING * average
    return log((actual + added) / (expected + added))


def _amount(expected: float, deviation: float, average: float) -> float:
    added = _SMOOTHING * average
    return max((expected + added) * exp(deviation) - added, 0.0)
