"""Instants for people: how far away they are, and what the organization's clocks show then."""

from datetime import datetime, timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString

from costtrack.calendar import Calendar
from costtrack.clock import iso

_SECOND = timedelta(seconds=1)
_UNITS = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
_FEW = 3  # of a unit: from there on the next smaller one says nothing of interest
_SOON = timedelta(seconds=2)


def relative(instant: datetime, now: datetime) -> str:
    """`in 2 days 3 hours`, `in 40 minutes`, `5 hours ago`, `now`."""
    distance = abs(instant - now)
    if distance < _SOON:
        return "now"
    length = _length(distance)
    return f"in {length}" if instant > now else f"{length} ago"


def exact(instant: datetime, calendar: Calendar) -> str:
    """`2026-11-09 00:00 Europe/Berlin`, with seconds where there are any; a part of a second counts as a whole one, so
    that what is said to be over then is over."""
    whole = instant.replace(microsecond=0)
    local = (whole if whole == instant else whole + _SECOND).astimezone(calendar.zone)
    return f"{local:%Y-%m-%d %H:%M:%S}".removesuffix(":00") + f" {calendar.zone.key}"


def both(instant: datetime, *, calendar: Calendar, now: datetime) -> SafeString:
    """How far away, and below it when exactly."""
    return format_html(
        '<time class="ct-two-lines" datetime="{}"><span>{}</span><small>{}</small></time>',
        iso(instant),
        relative(instant, now),
        exact(instant, calendar),
    )


def inline(instant: datetime, *, calendar: Calendar, now: datetime) -> str:
    """`in 2 days 3 hours (2026-11-09 00:00 Europe/Berlin)`, for sentences."""
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
