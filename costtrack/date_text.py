"""Dates and times as people read them, on pages and in emails: `Nov 30, 2026, 2:05 PM (Europe/Berlin)`. Pure functions.

Files, the API and attributes of pages have ISO 8601 (`costtrack.clock.iso`). `costtrack.formats` gives Django's
templates the same style.
"""

from datetime import UTC, date, datetime, time, tzinfo

from costtrack.clock import SECOND


def day_text(day: date) -> str:
    """Return `Nov 30, 2026`."""
    return f"{short_day_text(day)}, {day.year}"


def short_day_text(day: date) -> str:
    """Return `Nov 30`."""
    return f"{day:%b} {day.day}"


def days_text(first: date, last: date) -> str:
    """Return `Nov 2 to Nov 8, 2026`; one day is `Nov 2, 2026`. Both days are included."""
    if first == last:
        return day_text(first)
    return f"{short_day_text(first) if first.year == last.year else day_text(first)} to {day_text(last)}"


def clock_text(local: time | datetime) -> str:
    """Return `2:05 PM`, with seconds if there are any."""
    return second_text(local) if local.second else _to_the_minute(local)


def second_text(local: time | datetime) -> str:
    """Return `2:05:00 PM`, for times that were recorded."""
    return f"{local:%I:%M:%S %p}".removeprefix("0")


def hour_text(local: time | datetime) -> str:
    """Return `2 PM`, or `2:05 PM` within an hour."""
    return _to_the_minute(local).replace(":00 ", " ")


def time_text(instant: datetime, zone: tzinfo) -> str:
    """Return `Nov 30, 2026, 2:05 PM`, with seconds if there are any."""
    local = instant.astimezone(zone)
    return f"{day_text(local)}, {clock_text(local)}"


def recorded_time_text(instant: datetime, zone: tzinfo) -> str:
    """Return `Nov 30, 2026, 2:05:00 PM`, for times that were recorded: all of a list look alike."""
    local = instant.astimezone(zone)
    return f"{day_text(local)}, {second_text(local)}"


def zoned_time_text(instant: datetime, zone: tzinfo) -> str:
    """Return `Nov 30, 2026, 2:05 PM (Europe/Berlin)` or `Nov 30, 2026, 1:05 PM UTC`, for emails and sentences."""
    name = str(zone)
    return f"{time_text(instant, zone)} {name if name == 'UTC' else f'({name})'}"


def utc_text(instant: datetime) -> str:
    """Return `Nov 30, 2026, 1:05 PM UTC`."""
    return zoned_time_text(instant, UTC)


def full_second(instant: datetime) -> datetime:
    """Round up to the second, so that a deadline is never shown too early."""
    truncated = instant.replace(microsecond=0)
    return truncated if truncated == instant else truncated + SECOND


def _to_the_minute(local: time | datetime) -> str:
    return f"{local:%I:%M %p}".removeprefix("0")
