"""Dates and times in query strings and bodies, as all documented endpoints accept them.

Naive values are UTC. A date includes its whole day, so a date-only end includes that day; an end with a time is
inclusive to the microsecond (upstream-compatible). Internally, windows are half-open.
"""

from datetime import UTC, date, datetime
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from costtrack.calendar import Window, utc_midnight
from costtrack.clock import DAY, MICROSECOND

_EARLIEST, _LATEST = date(1970, 1, 2), date(9999, 12, 30)


@extend_schema_field(
    {
        "type": "string",
        "anyOf": [{"format": "date"}, {"format": "date-time"}],
        "examples": ["2026-11-02", "2026-11-02T09:00:00+01:00"],
    }
)
class DateOrDateTimeField(serializers.Field[date | datetime, str, str, Any]):
    """`2026-11-02` as a date, `2026-11-02T09:00:00+01:00` as an aware datetime."""

    default_error_messages = {
        "invalid": "Not an ISO 8601 date or time, for example 2026-11-02 or 2026-11-02T09:00:00Z."
    }

    def to_internal_value(self, data: Any) -> date | datetime:
        # A "+" that was not escaped in a query string arrives as a space.
        text = data.strip().replace(" ", "+") if isinstance(data, str) and "T" in data else data
        try:
            value = (parse_date(text) or parse_datetime(text)) if isinstance(text, str) else None
        except ValueError:
            value = None
        if value is None or not _EARLIEST <= _day(value) <= _LATEST:
            self.fail("invalid")
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return value

    def to_representation(self, value: date | datetime) -> str:
        return value.isoformat()


def _day(value: date | datetime) -> date:
    return value.date() if isinstance(value, datetime) else value


def window_of(start: date | datetime | None, end: date | datetime | None) -> Window:
    """Build the half-open window. Raises a ValidationError on `end_date` if it ends before it begins."""
    first = utc_midnight(start) if start is not None and not isinstance(start, datetime) else start
    last: datetime | None
    if end is None:
        last = None
    elif isinstance(end, datetime):
        last = end + MICROSECOND
    else:
        last = utc_midnight(end + DAY)
    if first is not None and last is not None and last <= first:
        raise serializers.ValidationError({"end_date": "The window ends before it begins."})
    return Window(first, last)
