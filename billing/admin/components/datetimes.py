"""How pages write timestamps: relative to now, or in the time zone of the page, which the page names once
(`admin/components/clock.html`); and local times in URLs. The style is that of `costtrack.date_text`.

In URLs and filters a local time is `2026-11-20T14:00`. When clocks are set back, an hour occurs twice; then the URL has
the offset, `2026-10-25T02:00+01:00`. Without it the first one is meant. (In the API a time without an offset is UTC.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components.formatting import NOTHING
from costtrack.calendar import Calendar, Span, Unit
from costtrack.clock import iso, utc_now
from costtrack.date_text import (
    clock_text,
    day_text,
    full_second,
    hour_text,
    recorded_time_text,
    second_text,
    short_day_text,
    time_text,
)
from organizations.clock import in_current_zone, zone_of
from organizations.models import Organization

_SECOND = timedelta(seconds=1)
_UNITS = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
_FEW = 3  # of a unit; from here on the next smaller unit is omitted
_DAYS_OF_WEEK, _MANY_DAYS = 7, 300
_SOON = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class LocalTimes:
    """Timestamps in an organization's time zone, as seen at `now`. A missing timestamp is `-`."""

    calendar: Calendar
    now: datetime

    @property
    def zone(self) -> ZoneInfo:
        return zone_of(self.calendar)

    @classmethod
    def of(cls, organization: Organization) -> "LocalTimes":
        return cls(organization.calendar, utc_now())

    def relative(self, instant: datetime | None) -> str:
        return NOTHING if instant is None else relative(instant, self.now)

    def exact(self, instant: datetime | None) -> str:
        """Only a future time is rounded up."""
        if instant is None:
            return NOTHING
        return exact(instant.replace(microsecond=0) if instant <= self.now else instant, self.zone)

    def recorded(self, instant: datetime | None) -> str:
        """Return a time of the past to the second, so that all times of a list look alike."""
        if instant is None or instant > self.now:
            return self.exact(instant)
        return recorded_time_text(instant, self.zone)

    def inline(self, instant: datetime | None) -> str:
        """Return `in 2 days 3 hours (Nov 9, 2026, 12:00 AM)`, for sentences; a time of the past has seconds."""
        return NOTHING if instant is None else f"{self.relative(instant)} ({self.recorded(instant)})"

    def span(self, first: datetime, last: datetime) -> str:
        """Return `Nov 20, 2026, 2:05 PM to 3:10 PM`, to the minute; both days if they differ."""
        first, last = (instant.astimezone(self.zone).replace(second=0, microsecond=0) for instant in (first, last))
        start = f"{day_text(first)}, {clock_text(first)}"
        if first == last:
            return start
        end = clock_text(last) if first.date() == last.date() else f"{day_text(last)}, {clock_text(last)}"
        return f"{start} to {end}"

    def short_text(self, instant: datetime) -> str:
        """Return a time of the coming days in a few characters: `today 6:30 PM`, `Thu 2 PM`, `Dec 12, 2 PM`,
        `Jan 2028`."""
        local = instant.astimezone(self.zone)
        days = (local.date() - self.now.astimezone(self.zone).date()).days
        if days == 0:
            return f"today {hour_text(local)}"
        if 0 < days < _DAYS_OF_WEEK:
            return f"{local:%a} {hour_text(local)}"
        return f"{short_day_text(local)}, {hour_text(local)}" if abs(days) < _MANY_DAYS else f"{local:%b %Y}"

    def short(self, instant: datetime) -> SafeString:
        """Render the same, with all of it in the tooltip."""
        return _time(instant, self.exact(instant), self.short_text(instant))

    def two_lines(self, instant: datetime | None, *, is_chosen: bool = False) -> SafeString | str:
        """Render the relative time with the exact time below it. A time that someone chose has no seconds of zero."""
        if instant is None:
            return NOTHING
        title = instant.astimezone(self.zone).isoformat(timespec="seconds")
        text = self.exact(instant) if is_chosen else self.recorded(instant)
        return two_lines(instant, self.relative(instant), text, title=title)


def two_lines(instant: datetime, first: str, second: str, *, title: str) -> SafeString:
    """Render a timestamp as two lines."""
    return format_html(
        '<time class="ct-two-lines" datetime="{}" title="{}"><span>{}</span><small>{}</small></time>',
        iso(instant),
        title,
        first,
        second,
    )


def local_time(value: datetime | None) -> SafeString | str:
    """Render a recorded time to the second, in the time zone of the page (`organizations.clock`); with ISO 8601 in the
    tooltip."""
    return _local(value, second_text)


def chosen_time(value: datetime | None) -> SafeString | str:
    """Render a time that someone chose, such as the end of a period: with seconds if there are any."""
    return _local(value, clock_text)


def _local(value: datetime | None, text_of: Callable[[datetime], str]) -> SafeString | str:
    if value is None:
        return NOTHING
    local = in_current_zone(value)
    return _time(value, local.isoformat(timespec="seconds"), f"{day_text(local)}, {text_of(local)}")


def local_day(value: datetime) -> str:
    return day_text(in_current_zone(value))


def relative(instant: datetime, now: datetime) -> str:
    """`in 2 days 3 hours`, `in 40 minutes`, `5 hours ago`, `now`."""
    distance = abs(instant - now)
    if distance < _SOON:
        return "now"
    length = _length(distance)
    return f"in {length}" if instant > now else f"{length} ago"


def exact(instant: datetime, zone: ZoneInfo) -> str:
    """Return `Nov 9, 2026, 12:00 AM`, with seconds if there are any. Fractions of a second round up, so that a deadline
    is never shown too early."""
    return time_text(full_second(instant), zone)


def url_time(instant: datetime, calendar: Calendar) -> str:
    """Format for URLs and fields; with the offset if the local time is ambiguous."""
    local = instant.astimezone(calendar.zone)
    return (local if _occurs_twice(local) else local.replace(tzinfo=None)).isoformat(timespec="minutes")


def span_name(span: Span, calendar: Calendar, *, with_day: bool = True) -> str:
    """Return `Nov 20, 2026, 2:00 PM to 3:00 PM`, or `2:00 PM to 3:00 PM` without the day; a longer span has both days.
    Times that occur twice have their offset: `2:00 AM (UTC+0200)`."""
    start, end = (instant.astimezone(calendar.zone) for instant in span)
    first, last = _clock_text(start), _clock_text(end)
    if calendar.date_of(span.start) != calendar.date_of(span.end - _SECOND):
        return f"{day_text(start)}, {first} to {day_text(end)}, {last}"
    return f"{day_text(start)}, {first} to {last}" if with_day else f"{first} to {last}"


def period_label(calendar: Calendar, unit: Unit, period: Span, *, is_single_day: bool = False) -> str:
    """Return the label of a period for axes and columns: `2 PM`, `Nov 2`, `Nov 2 to Nov 8`, `Nov 2026`."""
    start = period.start.astimezone(calendar.zone)
    if unit is Unit.HOUR:
        return hour_text(start) if is_single_day else f"{short_day_text(start)}, {hour_text(start)}"
    first, last = calendar.date_of(period.start), calendar.date_of(period.end - _SECOND)
    if unit is Unit.DAY:
        return short_day_text(first)
    return f"{first:%b %Y}" if unit is Unit.MONTH else f"{short_day_text(first)} to {short_day_text(last)}"


def _clock_text(local: datetime) -> str:
    return f"{clock_text(local)} (UTC{local:%z})" if _occurs_twice(local) else clock_text(local)


def _occurs_twice(local: datetime) -> bool:
    """Whether clocks show the local time twice, because they are set back."""
    return local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()


def _time(instant: datetime, title: str, text: str) -> SafeString:
    return format_html('<time datetime="{}" title="{}">{}</time>', iso(instant), title, text)


def _length(distance: timedelta) -> str:
    for position, (name, unit) in enumerate(_UNITS):
        if distance < unit:
            continue
        if distance >= _FEW * unit:
            return _counted(round(distance / unit), name)
        number, rest = divmod(distance, unit)
        return " ".join([_counted(number, name), *_smaller(rest, position + 1)])
    return _counted(distance // _SECOND, "second")


def _smaller(rest: timedelta, position: int) -> list[str]:
    if position == len(_UNITS):
        return []
    name, unit = _UNITS[position]
    return [_counted(rest // unit, name)] if rest >= unit else []


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
