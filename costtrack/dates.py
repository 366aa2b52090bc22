"""Dates and times as users write them, in query strings, bodies, forms and commands. Pure functions.

A date is a whole day of a calendar: as a start it is the beginning of that day, as an end the beginning of the next
one. Windows are half-open, so an end is excluded. An end in the last second of a day (`23:59:59`, with any fraction)
means the end of that second, and so of the day. Times without an offset are UTC, or
local times where a page says so.
"""

import re
from datetime import UTC, date, datetime, time, tzinfo
from zoneinfo import ZoneInfo

from costtrack.calendar import Calendar
from costtrack.clock import DAY, SECOND

UTC_CALENDAR = Calendar(ZoneInfo("UTC"))
LATEST = datetime(9999, 12, 31, tzinfo=UTC)

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# The "+" of an offset arrives as a space if a query string does not escape it.
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)(Z|z|[ +-]\d{2}(?::?\d{2})?)?", re.ASCII)
_LAST_SECOND = time(23, 59, 59)


def parse_day(text: str) -> date:
    """Parse `2026-11-02`. Raises ValueError; weeks, ordinal dates and compact dates are not dates here."""
    if _DAY.fullmatch(text) is None:
        raise ValueError("Not a date.")
    return date.fromisoformat(text)


def parse_month(text: str) -> date:
    """Parse `2026-11` as the first day of the month. Raises ValueError."""
    return parse_day(f"{text}-01")


class NonexistentTimeError(ValueError):
    """The local time is skipped when clocks are set forward."""


def parse_start(text: str, calendar: Calendar = UTC_CALENDAR, zone: tzinfo = UTC) -> datetime:
    """Return the instant, in UTC, that a date or a time means as a start. `zone` is that of times without an offset.
    Raises ValueError."""
    return _instant(_parse(text, zone), calendar)


def parse_end(text: str, calendar: Calendar = UTC_CALENDAR, zone: tzinfo = UTC) -> datetime:
    """Return the instant, in UTC and excluded, that a date or a time means as an end. `zone` is that of times without
    an offset. Raises ValueError."""
    value = _parse(text, zone)
    try:
        return end_of(value, calendar)
    except OverflowError:  # 9999-12-31 has no next day
        return _instant(value, calendar)


def end_of(value: date | datetime, calendar: Calendar) -> datetime:
    """Return the excluded end that a date, or an aware time as written, means."""
    if not isinstance(value, datetime):
        return calendar.start_of(value + DAY)
    if value.time() >= _LAST_SECOND:
        value = value.replace(microsecond=0) + SECOND
    return value.astimezone(UTC)


def _parse(text: str, zone: tzinfo) -> date | datetime:
    text = text.strip()
    if _DAY.fullmatch(text):
        return date.fromisoformat(text)
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("Not a date or time.")
    written, offset = match.groups()
    if offset is not None:
        return datetime.fromisoformat(written + offset.upper().replace(" ", "+"))
    local = datetime.fromisoformat(written)
    value = local.replace(tzinfo=zone)
    if value.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise NonexistentTimeError("The time does not exist.")
    return value


def _instant(value: date | datetime, calendar: Calendar) -> datetime:
    try:
        return value.astimezone(UTC) if isinstance(value, datetime) else calendar.start_of(value)
    except OverflowError:
        raise ValueError("Not a time between the years 1 and 9999.") from None
