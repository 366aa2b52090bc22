"""The forecast of spend with its band, and the back-test that the band comes from. Pure.

    checks = back_test(spend)                                 # each night, over the past of a series
    pace = spend.pace_at(now)                                 # the pace of limits, without outliers
    outlook = outlook_of(pace, period.end - now, checks)      # what the rest of the period will cost

The expected amount is that of the pace by hour and weekday (`billing.limits.pace`), of hours in which a day counts for
no more than 1.5 times the third most expensive one of its four weeks, so that a runaway is not expected to recur. The
back-test makes this forecast each day of the past, each day at another hour, and compares it with what was spent in the
6 hours to 31 days after it. The median of these errors corrects the forecast, because in a trend they are alike; their
quantiles are the band. A forecast of the back-test uses only the errors that were known at its time.
"""

from bisect import insort
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from math import sqrt
from typing import NamedTuple

from billing.limits.pace import History, WeeklyPace, weekly_pace
from costtrack.calendar import Calendar
from costtrack.clock import HOUR, start_of_hour
from costtrack.money import ZERO

HORIZONS = (6, 24, 72, 168, 336, 744)
"""The hours ahead that are tested, up to 31 days. The rest of a period has the band of the next longer one."""
BAND = 0.8
"""The share of outcomes that a band is meant to include."""
MAX_PAST = timedelta(weeks=52)
_DAY, _WEEK, _FOUR_WEEKS = 24, 168, 672
_HOUR_SHIFT = 7
"""Each day is tested this many hours later than the day before."""
_MIN_ERRORS, _MIN_TESTED = 20, 10
_OUTLIER = 1.5
_USUAL_DAYS = 3
_SMOOTHING = 0.1
_MICRODOLLAR = Decimal("0.000001")


class HorizonCheck(NamedTuple):
    """The back-test of forecasts so many hours ahead.

    `low`, `middle` and `high` are errors as shares of the forecast (`_scale`). `error` is the sum of the differences
    divided by the sum of what was spent, `coverage` the share of outcomes within the band, both of `tested` forecasts.
    """

    hours: int
    low: float
    middle: float
    high: float
    error: float
    coverage: float
    tested: int


class Outlook(NamedTuple):
    """What will be spent; the band is None without a back-test that reaches as far."""

    usd: Decimal
    low_usd: Decimal | None
    high_usd: Decimal | None
    check: HorizonCheck | None


@dataclass(frozen=True, slots=True)
class HourlySpend:
    """Spend by hour from `start`, the first hour with spend. `hours_of_week` are local ones: Monday 0:00 is 0."""

    start: datetime
    usd: Sequence[float]
    hours_of_week: Sequence[int]
    calendar: Calendar

    @classmethod
    def of(cls, spend: Mapping[datetime, float], *, until: datetime, calendar: Calendar) -> "HourlySpend | None":
        """Build it from the spend of hours, until the hour that is not over; None if nothing was spent."""
        end = start_of_hour(until)
        start = min((hour for hour, usd in spend.items() if usd > 0), default=end)
        if start >= end:
            return None
        hours = [start + number * HOUR for number in range((end - start) // HOUR)]
        local = [hour.astimezone(calendar.zone) for hour in hours]
        return cls(
            start,
            [max(spend.get(hour, 0.0), 0.0) for hour in hours],
            [time.weekday() * _DAY + time.hour for time in local],
            calendar,
        )

    @property
    def end(self) -> datetime:
        return self.start + len(self.usd) * HOUR

    def pace_at(self, instant: datetime) -> WeeklyPace | None:
        """Return the pace that was known at an instant; None if there was less than a week of history."""
        end = min((start_of_hour(instant) - self.start) // HOUR, len(self.usd))
        if end < _WEEK:
            return None
        first = max(0, end - _FOUR_WEEKS)
        usd = _without_outliers(self.usd[first:end])
        sums: dict[int, float] = {}
        for hour_of_week, amount in zip(self.hours_of_week[first:end], usd, strict=True):
            sums[hour_of_week] = sums.get(hour_of_week, 0.0) + amount
        history = History(self.start + first * HOUR, tuple(sums.items()), sum(usd[-_WEEK:]), 0.0)
        return weekly_pace(history, calendar=self.calendar, recent_usd=ZERO, now=instant)


def back_test(spend: HourlySpend) -> list[HorizonCheck]:
    """Return the check of each horizon that has been tested often enough."""
    sums = [0.0, *accumulate(spend.usd)]
    tests = [_HorizonTest(hours) for hours in HORIZONS]
    for day in range(_WEEK // _DAY, len(spend.usd) // _DAY + 1):
        origin = day * _DAY + day * _HOUR_SHIFT % _DAY
        pace = spend.pace_at(spend.start + origin * HOUR) if origin < len(spend.usd) else None
        if pace is None:
            continue
        for test in tests:
            if origin + test.hours < len(sums):
                test.add(origin, pace, sums[origin + test.hours] - sums[origin])
    return [check for test in tests if (check := test.check()) is not None]


def outlook_of(pace: WeeklyPace, ahead: timedelta, checks: Sequence[HorizonCheck]) -> Outlook:
    """Return what will be spent in a time from now on."""
    expected = float(pace.usd_until(ahead))
    check = next((check for check in checks if check.hours * HOUR >= ahead), None)
    if check is None:
        return Outlook(_amount(expected), None, None, None)
    scale = _scale(pace, expected, ahead / HOUR)
    low, middle, high = (_amount(expected + error * scale) for error in (check.low, check.middle, check.high))
    return Outlook(middle, low, high, check)


class _HorizonTest:
    """Forecasts of one horizon. An error becomes known when its time is over."""

    def __init__(self, hours: int) -> None:
        self.hours = hours
        self._errors: list[float] = []
        self._pending: deque[tuple[int, float]] = deque()
        self._tested = self._covered = 0
        self._missed = self._spent = 0.0

    def add(self, origin: int, pace: WeeklyPace, spent: float) -> None:
        expected = float(pace.usd_until(self.hours * HOUR))
        scale = _scale(pace, expected, self.hours)
        if scale <= 0:
            return
        while self._pending and self._pending[0][0] <= origin:
            insort(self._errors, self._pending.popleft()[1])
        if len(self._errors) >= _MIN_ERRORS:
            low, middle, high = (max(expected + error * scale, 0.0) for error in self._band())
            self._tested += 1
            self._covered += low <= spent <= high
            self._missed += abs(spent - middle)
            self._spent += spent
        self._pending.append((origin + self.hours, (spent - expected) / scale))

    def check(self) -> HorizonCheck | None:
        if self._tested < _MIN_TESTED:
            return None
        for _, error in self._pending:
            insort(self._errors, error)
        error = self._missed / self._spent if self._spent else 0.0
        return HorizonCheck(self.hours, *self._band(), error, self._covered / self._tested, self._tested)

    def _band(self) -> tuple[float, float, float]:
        """Return the quantiles of the errors. Forecasts of successive days overlap, so that a year has only twelve
        months that are independent of each other; the band is wider the fewer there are."""
        low, middle, high = (_quantile(self._errors, share) for share in ((1 - BAND) / 2, 0.5, (1 + BAND) / 2))
        wider = 1 + sqrt(self.hours / _DAY / len(self._errors))
        return middle - (middle - low) * wider, middle, middle + (high - middle) * wider


def _without_outliers(usd: Sequence[float]) -> list[float]:
    """Reduce each day, counted back from the end, to 1.5 times the third most expensive one."""
    reduced = list(usd)
    ends = range(len(usd), _DAY - 1, -_DAY)
    days = [sum(usd[end - _DAY : end]) for end in ends]
    most = _OUTLIER * sorted(days)[-_USUAL_DAYS]
    for end, day in zip(ends, days, strict=True):
        if day > most:
            reduced[end - _DAY : end] = [amount * most / day for amount in usd[end - _DAY : end]]
    return reduced


def _scale(pace: WeeklyPace, expected: float, hours: float) -> float:
    """Return what an error is a share of: the expected amount, and a tenth of what an average time of this length
    costs, so that errors at night are not infinite."""
    return expected + _SMOOTHING * pace.sums[-1] * hours / _WEEK


def _quantile(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    index = int(position)
    following = ordered[min(index + 1, len(ordered) - 1)]
    return ordered[index] + (following - ordered[index]) * (position - index)


def _amount(usd: float) -> Decimal:
    return Decimal(repr(max(usd, 0.0))).quantize(_MICRODOLLAR)
