"""Local times of the organization in URLs and filters: `2026-11-20T14:00`.

When clocks are set back, an hour occurs twice; then the URL has the offset, `2026-10-25T02:00+01:00`. Without it the
first one is meant. (In the API a time without an offset is UTC; pages use the organization's time zone.)
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.utils.dateparse import parse_datetime

from costtrack.calendar import Calendar, Span

_EARLIEST, _LATEST = 2000, 2199  # years
_SECOND = timedelta(seconds=1)
_BROWSER_FORMAT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)?", re.ASCII)


class TimeInput(forms.TextInput):
    """A `datetime-local` input for times without an offset; a text input for others."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        if _BROWSER_FORMAT.fullmatch(context["widget"]["value"] or ""):
            context["widget"]["type"] = "datetime-local"
        return context


class TimeField(forms.Field):
    """A local time of the organization, cleaned to an aware datetime; the form sets `calendar`."""

    widget = TimeInput
    calendar: Calendar

    def __init__(self, *, label: str) -> None:
        super().__init__(required=False, label=label)

    def to_python(self, value: object) -> datetime | None:
        text = str(value or "").strip()
        if not text:
            return None
        # An unescaped "+" in a URL arrives as a space.
        parsed = _parsed(text.replace(" ", "+") if "T" in text else text)
        if parsed is None:
            raise forms.ValidationError("Enter a time such as 2026-11-20T14:00.")
        if not _EARLIEST <= parsed.year <= _LATEST:
            raise forms.ValidationError(f"Enter a year from {_EARLIEST} to {_LATEST}.")
        if parsed.tzinfo is not None:
            return parsed.astimezone(UTC)
        instant = parsed.replace(tzinfo=self.calendar.zone).astimezone(UTC)
        if instant.astimezone(self.calendar.zone).replace(tzinfo=None) != parsed:
            raise forms.ValidationError(
                "This time does not exist because clocks were set forward. Choose another time."
            )
        return instant


def _parsed(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None


def text_of(instant: datetime, calendar: Calendar) -> str:
    """Format for the field; with the offset if the local time is ambiguous."""
    local = instant.astimezone(calendar.zone)
    is_shown_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    return (local if is_shown_twice else local.replace(tzinfo=None)).isoformat(timespec="minutes")


def name_of(span: Span, calendar: Calendar, *, with_day: bool = True) -> str:
    """Return `2026-11-20, 14:00 to 15:00`, or `14:00 to 15:00` without the day; a longer span has both days."""
    (first_day, start), (last_day, end) = (text_of(instant, calendar).split("T") for instant in span)
    if calendar.date_of(span.start) != calendar.date_of(span.end - _SECOND):
        return f"{first_day} {start} to {last_day} {end}"
    return f"{first_day}, {start} to {end}" if with_day else f"{start} to {end}"
