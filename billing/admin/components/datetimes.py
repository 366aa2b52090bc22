"""How pages write timestamps: relative to now, or in the time zone of the page; and local times in URLs.

In URLs and filters a local time is `2026-11-20T14:00`. When clocks are set back, an hour occurs twice; then the URL has
the offset, `2026-10-25T02:00+01:00`. Without it the first one is meant. (In the API a time without an offset is UTC.)
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components.formatting import NOTHING
from costtrack.calendar import Calendar, Span, Unit
from costtrack.clock import iso, utc_now
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

    def inline(self, instant: datetime | None) -> str:
        """Return `in 2 days 3 hours (2026-11-09 00:00 Europe/Berlin)`, for sentences."""
        return NOTHING if instant is None else f"{self.relative(instant)} ({self.exact(instant)})"

    def short_text(self, instant: datetime) -> str:
        """Return a time of the coming days in a few characters: `today 18:30`, `Thu 14:00`, `Dec 12, 14:00`,
        `Jan 2028`."""
        local = instant.astimezone(self.zone)
        days = (local.date() - self.now.astimezone(self.zone).date()).days
        if days == 0:
            return f"today {local:%H:%M}"
        if 0 < days < _DAYS_OF_WEEK:
            return f"{local:%a %H:%M}"
        return f"{local:%b} {local.day}, {local:%H:%M}" if abs(days) < _MANY_DAYS else f"{local:%b %Y}"

    def short(self, instant: datetime) -> SafeString:
        """Render the same, with all of it in the tooltip."""
        template = '<time datetime="{}" title="{}">{}</time>'
        return format_html(template, iso(instant), self.exact(instant), self.short_text(instant))

    def two_lines(self, instant: datetime | None, *, with_zone: bool = True) -> SafeString | str:
        """Render the relative time with the exact time below it. Without the zone, it is in the tooltip."""
        if instant is None:
            return NOTHING
        written = self.exact(instant)
        shown = written if with_zone else written.removesuffix(f" {self.zone.key}")
        return two_lines(instant, self.relative(instant), shown, title="" if with_zone else written)


def two_lines(instant: datetime, first: str, second: str, *, title: str = "") -> SafeString:
    """Render a timestamp as two lines."""
    tooltip = format_html(' title="{}"', title) if title else ""
    return format_html(
        '<time class="ct-two-lines" datetime="{}"{}><span>{}</span><small>{}</small></time>',
        iso(instant),
        tooltip,
        first,
        second,
    )


def local_time(value: datetime | None) -> str:
    """Format to the second, in the time zone of the page (`organizations.clock`): `2026-11-02 09:00:07`."""
    return NOTHING if value is None else f"{in_current_zone(value):%Y-%m-%d %H:%M:%S}"


def relative(instant: datetime, now: datetime) -> str:
    """`in 2 days 3 hours`, `in 40 minutes`, `5 hours ago`, `now`."""
    distance = abs(instant - now)
    if distance < _SOON:
        return "now"
    length = _length(distance)
    return f"in {length}" if instant > now else f"{length} ago"


def exact(instant: datetime, zone: ZoneInfo) -> str:
    """Return `2026-11-09 00:00 Europe/Berlin`, with seconds if there are any. Fractions of a second round up, so that a
    deadline is never shown too early."""
    truncated = instant.replace(microsecond=0)
    local = (truncated if truncated == instant else truncated + _SECOND).astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S}".removesuffix(":00") + f" {zone.key}"


def url_time(instant: datetime, calendar: Calendar) -> str:
    """Format for URLs and fields; with the offset if the local time is ambiguous."""
    local = instant.astimezone(calendar.zone)
    is_shown_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    return (local if is_shown_twice else local.replace(tzinfo=None)).isoformat(timespec="minutes")


def span_name(span: Span, calendar: Calendar, *, with_day: bool = True) -> str:
    """Return `2026-11-20, 14:00 to 15:00`, or `14:00 to 15:00` without the day; a longer span has both days."""
    (first_day, start), (last_day, end) = (url_time(instant, calendar).split("T") for instant in span)
    if calendar.date_of(span.start) != calendar.date_of(span.end - _SECOND):
        return f"{first_day} {start} to {last_day} {end}"
    return f"{first_day}, {start} to {end}" if with_day else f"{start} to {end}"


def period_label(calendar: Calendar, unit: Unit, period: Span, *, is_single_day: bool = False) -> str:
    """Return the label of a period for axes and columns: `14:00`, `Nov 02`, `Nov 02 to Nov 08`, `Nov 2026`."""
    start = period.start.astimezone(calendar.zone)
    if unit is Unit.HOUR:
        return f"{start:%H:%M}" if is_single_day else f"{start:%b %d} {start:%H:%M}"
    first, last = calendar.date_of(period.start), calendar.date_of(period.end - _SECOND)
    if unit is Unit.DAY:
        return f"{first:%b %d}"
    return f"{first:%b %Y}" if unit is Unit.MONTH else f"{first:%b %d} to {last:%b %d}"


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
