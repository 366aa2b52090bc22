"""Hours, days, weeks and months of a time zone, for charts, presets and limits. Pure functions.

Instants are aware UTC datetimes and spans are half-open. A day starts when its local date does, so a day with a clock
change has 23, 25 or 24.5 hours; weeks and months consist of days. Offsets come from the IANA database.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from costtrack.clock import DAY, EPOCH, HOUR, SECOND

_MONTHS = 12


class Unit(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Preset(StrEnum):
    """Named spans that end with today or earlier."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    WEEK = "week"
    LAST_WEEK = "last_week"
    MONTH = "month"
    LAST_MONTH = "last_month"
    DAYS_7 = "7d"
    DAYS_30 = "30d"
    DAYS_90 = "90d"


_DAYS_OF = {Preset.TODAY: 1, Preset.DAYS_7: 7, Preset.DAYS_30: 30, Preset.DAYS_90: 90}
_PERIOD_OF = {Preset.WEEK: Unit.WEEK, Preset.MONTH: Unit.MONTH}
_LAST_PERIOD_OF = {Preset.YESTERDAY: Unit.DAY, Preset.LAST_WEEK: Unit.WEEK, Preset.LAST_MONTH: Unit.MONTH}


class Span(NamedTuple):
    """`start <= t < end`"""

    start: datetime
    end: datetime


class Window(NamedTuple):
    """`start <= t < end`; None leaves a side open. (A `Span` is a window with both sides.)"""

    start: datetime | None = None
    end: datetime | None = None


ALWAYS = Window()


def utc_midnight(day: date) -> datetime:
    """Return the first instant of a UTC day."""
    return datetime.combine(day, time(), UTC)


def utc_day(instant: datetime) -> date:
    return instant.astimezone(UTC).date()


@dataclass(frozen=True, slots=True)
class Calendar:
    """A time zone and the first day of its weeks (ISO 8601: Monday is 1)."""

    zone: ZoneInfo
    week_start: int = 1

    def date_of(self, instant: datetime) -> date:
        """Return the local day of an instant."""
        day = instant.astimezone(self.zone).date()
        # Where clocks are set back at midnight, the end of the previous day occurs twice.
        return day + DAY if self.start_of(day + DAY) <= instant else day

    def start_of(self, day: date) -> datetime:
        """Return the first instant of a day."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def days(self, first: date, last: date) -> Span:
        """Return the span from the start of one day to the end of another."""
        return Span(self.start_of(first), self.start_of(last + DAY))

    def period(self, unit: Unit, instant: datetime) -> Span:
        """Return the hour, day, week or month of an instant."""
        if unit is Unit.HOUR:
            start = self._start_of_hour(instant)
            return Span(start, self._start_of_hour(start + HOUR))
        first = self._first_day(unit, self.date_of(instant))
        return self.days(first, _last_day(unit, first))

    def months(self, count: int, instant: datetime, *, first_day: int = 1) -> Span:
        """Return the span of so many months that contains an instant: quarters begin in January. Months begin on a day,
        or on their last one if they are shorter."""
        day = self.date_of(instant)
        month = day.year * _MONTHS + day.month - 1
        month -= 0 if day >= _day_of_month(month, first_day) else 1
        first = month - month % count
        return Span(
            self.start_of(_day_of_month(first, first_day)), self.start_of(_day_of_month(first + count, first_day))
        )

    def periods(self, unit: Unit, span: Span) -> Iterator[Span]:
        """Split a span into periods; the first and the last may be incomplete."""
        start = span.start
        while start < span.end:
            end = min(self.period(unit, start).end, span.end)
            yield Span(start, end)
            start = end

    def preset(self, preset: Preset, now: datetime) -> Span:
        today = self.date_of(now)
        if preset in _DAYS_OF:
            return self.days(today - (_DAYS_OF[preset] - 1) * DAY, today)
        if preset in _PERIOD_OF:
            return self.days(self._first_day(_PERIOD_OF[preset], today), today)
        return self.period_before(_LAST_PERIOD_OF[preset], now)

    def preset_end(self, preset: Preset, now: datetime) -> datetime:
        """Return when the day, week or month of a preset ends."""
        unit = _PERIOD_OF.get(preset)
        return self.preset(preset, now).end if unit is None else self.period(unit, now).end

    def preset_before(self, preset: Preset, span: Span) -> Span:
        """Return what the span of a preset is compared with: the month before a month, in full, and so on."""
        unit = {**_PERIOD_OF, **_LAST_PERIOD_OF}.get(preset)
        return self.before(span) if unit is None else self.period_before(unit, span.start)

    def before(self, span: Span) -> Span:
        """Return the preceding span: as many days if the span consists of days, otherwise the same duration."""
        first, last = self.date_of(span.start), self.date_of(span.end)
        if self.start_of(first) == span.start and self.start_of(last) == span.end:
            return Span(self.start_of(first - (last - first)), span.start)
        return Span(span.start - (span.end - span.start), span.start)

    def period_before(self, unit: Unit, instant: datetime) -> Span:
        """Return the hour, day, week or month before that of an instant."""
        return self.period(unit, self.period(unit, instant).start - SECOND)

    def _first_day(self, unit: Unit, day: date) -> date:
        if unit is Unit.WEEK:
            return day - (day.isoweekday() - self.week_start) % 7 * DAY
        return day.replace(day=1) if unit is Unit.MONTH else day

    def _start_of_hour(self, instant: datetime) -> datetime:
        """Return the last full local hour, or a clock change by less than an hour after it (as on Lord Howe Island)."""
        start = instant - self._into_the_hour(instant)
        return start if not self._into_the_hour(start) else self._change_between(start, instant)

    def _into_the_hour(self, instant: datetime) -> timedelta:
        local = instant.astimezone(self.zone)
        return timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)

    def _change_between(self, before: datetime, after: datetime) -> datetime:
        """Return the second in which the zone's offset became the one in effect at `after`."""
        offset = after.astimezone(self.zone).utcoffset()
        after = after.replace(microsecond=0)
        while after - before > SECOND:
            middle = before + (after - before) // (2 * SECOND) * SECOND
            if middle.astimezone(self.zone).utcoffset() == offset:
                after = middle
            else:
                before = middle
        return after


def _last_day(unit: Unit, first: date) -> date:
    if unit is Unit.MONTH:
        years, month = divmod(first.month, _MONTHS)
        return date(first.year + years, month + 1, 1) - DAY
    return first + (6 if unit is Unit.WEEK else 0) * DAY


def last_boundary(instant: datetime, bucket: timedelta) -> datetime:
    """Return the last boundary at or before the instant."""
    return instant - (instant - EPOCH) % bucket


def next_boundary(instant: datetime, bucket: timedelta) -> datetime:
    """Return the first boundary at or after the instant."""
    boundary = last_boundary(instant, bucket)
    return boundary if boundary == instant else boundary + bucket


def _day_of_month(month: int, day: int) -> date:
    """Return a day of a month, counted from year 0, or the last day if the month is shorter."""
    year, index = divmod(month, _MONTHS)
    return date(year, index + 1, min(day, monthrange(year, index + 1)[1]))
