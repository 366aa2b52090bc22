"""Formats timestamps for pages: relative to now, and exact in the organization's time zone."""

from datetime import datetime, timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString

from costtrack.calendar import Calendar
from costtrack.clock import iso

_SECOND = timedelta(seconds=1)
_UNITS = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
_FEW = 3  # of a unit; from here on the next smaller unit is omitted
_SOON = timedelta(seconds=2)


def relative(instant: datetime, now: datetime) -> str:
    """`in 2 days 3 hours`, `in 40 minutes`, `5 hours ago`, `now`."""
    distance = abs(instant - now)
    if distance < _SOON:
        return "now"
    length = _length(distance)
    return f"in {length}" if instant > now else f"{length} ago"


def exact(instant: datetime, calendar: Calendar) -> str:
    """Return `2026-11-09 00:00 Europe/Berlin`, with seconds if there are any. Fractions of a second round up, so that a
    deadline is never shown too early."""
    truncated = instant.replace(microsecond=0)
    local = (truncated if truncated == instant else truncated + _SECOND).astimezone(calendar.zone)
    return f"{local:%Y-%m-%d %H:%M:%S}".removesuffix(":00") + f" {calendar.zone.key}"


def two_lines(instant: datetime, *, calendar: Calendar, now: datetime) -> SafeString:
    """Render the relative time with the exact time below it."""
    return format_html(
        '<time class="ct-two-lines" datetime="{}"><span>{}</span><small>{}</small></time>',
        iso(instant),
        relative(instant, now),
        exact(instant, calendar),
    )


def inline(instant: datetime, *, calendar: Calendar, now: datetime) -> str:
    """Return `in 2 days 3 hours (2026-11-09 00:00 Europe/Berlin)`, for sentences."""
    return f"{relative(instant, now)} ({exact(instant, calendar)})"


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
