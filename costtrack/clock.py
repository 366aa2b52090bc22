"""The only place that asks what time it is; everything else is given `now`."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current instant, aware, in UTC."""
    return datetime.now(tz=UTC)


def iso(instant: datetime) -> str:
    """An instant as ISO 8601 in UTC with a `Z`, for example `2026-11-02T09:00:00.250000Z`."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
