"""Times: units, format, and the clock. Only `utc_now` reads the clock; all other code takes `now` as a parameter."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import overload

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


_as_of: ContextVar[datetime | None] = ContextVar("costtrack_as_of", default=None)


def utc_now() -> datetime:
    """Return the current time as an aware datetime in UTC; inside `reading_as_of` the time of what is read."""
    return _as_of.get() or datetime.now(tz=UTC)


@contextmanager
def reading_as_of(instant: datetime) -> Iterator[None]:
    """Let this instant be now. For reads of data that is complete up to it, so that figures say the time that they are
    of, and windows that end now end then."""
    token = _as_of.set(instant)
    try:
        yield
    finally:
        _as_of.reset(token)


def start_of_hour(instant: datetime) -> datetime:
    """Return the start of the full hour that contains the instant."""
    return instant.replace(minute=0, second=0, microsecond=0)


@overload
def iso(instant: datetime) -> str: ...


@overload
def iso(instant: datetime | None) -> str | None: ...


def iso(instant: datetime | None) -> str | None:
    """Format an instant as ISO 8601 in UTC with a `Z`, for example `2026-11-02T09:00:00.250000Z`. None stays None."""
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
