"""The only module that reads the clock; everything else takes `now` as a parameter."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the current time as an aware datetime in UTC."""
    return datetime.now(tz=UTC)


def iso(instant: datetime) -> str:
    """Format an instant as ISO 8601 in UTC with a `Z`, for example `2026-11-02T09:00:00.250000Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
