"""Format times for e-mails, in a time zone and in UTC."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A time in a time zone and in UTC; `utc` is empty if the zone is UTC."""

    local: str
    utc: str


def local_time(text: str | None, zone: ZoneInfo) -> LocalTime | None:
    """Format an ISO 8601 time. Fractions of a second are rounded up, so that the time shown is never too early."""
    if text is None:
        return None
    instant = datetime.fromisoformat(text)
    if instant.microsecond:
        instant = instant.replace(microsecond=0) + _SECOND
    local, utc = _with_zone(instant, zone), _with_zone(instant, _UTC)
    return LocalTime(local, "" if local == utc else utc)


def local_span(start: str, end: str, zone: ZoneInfo) -> str:
    """Format a start and an end, with the time zone given once."""
    return f"{_format(datetime.fromisoformat(start), zone)} to {_with_zone(datetime.fromisoformat(end), zone)}"


def _with_zone(instant: datetime, zone: ZoneInfo) -> str:
    """`Mon 9 Nov 2026, 14:05 (Europe/Berlin)`"""
    name = zone.key if zone.key == _UTC.key else f"({zone.key})"
    return f"{_format(instant, zone)} {name}"


def _format(instant: datetime, zone: ZoneInfo) -> str:
    """`Mon 9 Nov 2026, 14:05`, with seconds if there are any."""
    local = instant.astimezone(zone)
    seconds = ":%S" if local.second else ""
    return f"{local:%a} {local.day} {local:%b %Y}, {local.strftime('%H:%M' + seconds)}"
