"""Instants as people read them in e-mails: on their own clocks, and in UTC."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class LocalTime:
    """An instant in a time zone, and the same in UTC; `utc` is empty where the zone is UTC."""

    local: str
    utc: str


def local_time(text: str | None, zone: ZoneInfo) -> LocalTime | None:
    """From ISO 8601. Parts of a second are rounded up: what begins then has begun at the time shown."""
    if text is None:
        return None
    instant = datetime.fromisoformat(text)
    if instant.microsecond:
        instant = instant.replace(microsecond=0) + _SECOND
    local, utc = _with_zone(instant, zone), _with_zone(instant, _UTC)
    return LocalTime(local, "" if local == utc else utc)


def local_span(start: str, end: str, zone: ZoneInfo) -> str:
    """From one instant to another, with the zone named once."""
    return f"{_shown(datetime.fromisoformat(start), zone)} to {_with_zone(datetime.fromisoformat(end), zone)}"


def _with_zone(instant: datetime, zone: ZoneInfo) -> str:
    """`Mon 9 Nov 2026, 14:05 (Europe/Berlin)`"""
    name = zone.key if zone.key == _UTC.key else f"({zone.key})"
    return f"{_shown(instant, zone)} {name}"


def _shown(instant: datetime, zone: ZoneInfo) -> str:
    """`Mon 9 Nov 2026, 14:05`, with seconds if there are any."""
    moment = instant.astimezone(zone)
    seconds = ":%S" if moment.second else ""
    return f"{moment:%a} {moment.day} {moment:%b %Y}, {moment.strftime('%H:%M' + seconds)}"
