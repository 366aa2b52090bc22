"""Hours, days, weeks and months as the clocks of a time zone show them: for charts, presets and limits. Pure.

Instants are aware UTC and spans half-open. A day begins when its date does, so where clocks are changed it has 23, 25
or 24.5 hours; months and weeks are made of days. What a zone tells of a time is taken from the IANA database.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

_HOUR, _DAY, _SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
_MONTHS = 12


class Unit(StrEnum):
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Preset(StrEnum):
    """Spans with a name. They end with today, or before it."""

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


@dataclass(frozen=True, slots=True)
class Calendar:
    """A time zone, and the day that weeks start on there (ISO 8601: Monday is 1)."""

    zone: ZoneInfo
    week_start: int = 1

    def date_of(self, instant: datetime) -> date:
        """The day that an instant belongs to."""
        day = instant.astimezone(self.zone).date()
        # Where clocks are set back at midnight, they show the end of the day before once more.
        return day + _DAY if self.start_of(day + _DAY) <= instant else day

    def start_of(self, day: date) -> datetime:
        """The first instant of a day."""
        return datetime.combine(day, time(), self.zone).astimezone(UTC)

    def days(self, first: date, last: date) -> Span:
        """From the beginning of one day to the end of another."""
        return Span(self.start_of(first), self.start_of(last + _DAY))

    def period(self, unit: Unit, instant: datetime) -> Span:
        """The hour, day, week or month that an instant belongs to."""
        if unit is Unit.HOUR:
            start = self._start_of_hour(instant)
            return Span(start, self._start_of_hour(start + _HOUR))
        first = self._first_day(unit, self.date_of(instant))
        return self.days(first, _last_day(unit, first))

    def periods(self, unit: Unit, span: Span) -> Iterator[Span]:
        """The span cut into periods; the first and the last may be parts of one."""
        start = span.start
        while start < span.end:
            end = min(self.period(unit, start).end, span.end)
            yield Span(start, end)
            start = end

    def preset(self, preset: Preset, now: datetime) -> Span:
        today = self.date_of(now)
        if preset in _DAYS_OF:
            return self.days(today - (_DAYS_OF[preset] - 1) * _DAY, today)
        if preset in _PERIOD_OF:
            return self.days(self._first_day(_PERIOD_OF[preset], today), today)
        unit = _LAST_PERIOD_OF[preset]
        return self.period(unit, self.period(unit, now).start - _SECOND)

    def before(self, span: Span) -> Span:
        """What comes just before: as many days as the span has, or, if it is not made of days, as much time."""
        first, last = self.date_of(span.start), self.date_of(span.end)
        if self.start_of(first) == span.start and self.start_of(last) == span.end:
            return Span(self.start_of(first - (last - first)), span.start)
        return Span(span.start - (span.end - span.start), span.start)

    def _first_day(self, unit: Unit, day: date) -> date:
        if unit is Unit.WEEK:
            return day - (day.isoweekday() - self.week_start) % 7 * _DAY
        return day.replace(day=1) if unit is Unit.MONTH else day

    def _start_of_hour(self, instant: datetime) -> datetime:
        """When the clock last showed a full hour, or was changed by a part of one (as on Lord Howe Island)."""
        start = instant - self._into_the_hour(instant)
        return start if not self._into_the_hour(start) else self._change_between(start, instant)

    def _into_the_hour(self, instant: datetime) -> timedelta:
        local = instant.astimezone(self.zone)
        return timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)

    def _change_between(self, before: datetime, after: datetime) -> datetime:
        """The second in which the zone's offset became what it is at `after`."""
        offset = after.astimezone(self.zone).utcoffset()
        after = after.replace(microsecond=0)
        while after - before > _SECOND:
            middle = before + (after - before) // (2 * _SECOND) * _SECOND
            if middle.astimezone(self.zone).utcoffset() == offset:
                after = middle
            else:
                before = middle
        return after


def _last_day(unit: Unit, first: date) -> date:
    if unit is Unit.MONTH:
        years, month = divmod(first.month, _MONTHS)
        return date(first.year + years, month + 1, 1) - _DAY
    return first + (6 if unit is Unit.WEEK else 0) * _DAY
