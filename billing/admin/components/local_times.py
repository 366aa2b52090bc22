"""Times of the organization's clocks in addresses and filters: `2026-11-20T14:00`.

Where clocks are set back they show an hour twice: then an address says which is meant, `2026-10-25T02:00+01:00`.
Without that it is the first. (To the API a time without an offset is UTC; pages are about the organization's clocks.)
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.utils.dateparse import parse_datetime

from costtrack.calendar import Calendar, Span

_EARLIEST, _LATEST = 2000, 2199  # years; the ledger has nothing before
_SECOND = timedelta(seconds=1)
_OF_BROWSERS = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)?", re.ASCII)


class TimeInput(forms.TextInput):
    """The browser's own control for what it can show: a time without an offset."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        if _OF_BROWSERS.fullmatch(context["widget"]["value"] or ""):
            context["widget"]["type"] = "datetime-local"
        return context


class TimeField(forms.Field):
    """An aware instant of what the organization's clocks show; `calendar` is set by the form."""

    widget = TimeInput
    calendar: Calendar

    def __init__(self, *, label: str) -> None:
        super().__init__(required=False, label=label)

    def to_python(self, value: object) -> datetime | None:
        text = str(value or "").strip()
        if not text:
            return None
        # A "+" that was not escaped in an address arrives as a space.
        told = _parsed(text.replace(" ", "+") if "T" in text else text)
        if told is None:
            raise forms.ValidationError("Enter a time such as 2026-11-20T14:00.")
        if not _EARLIEST <= told.year <= _LATEST:
            raise forms.ValidationError(f"A year from {_EARLIEST} to {_LATEST}.")
        if told.tzinfo is not None:
            return told.astimezone(UTC)
        instant = told.replace(tzinfo=self.calendar.zone).astimezone(UTC)
        if instant.astimezone(self.calendar.zone).replace(tzinfo=None) != told:
            raise forms.ValidationError("Clocks were set forward past this time; choose another one.")
        return instant


def _parsed(text: str) -> datetime | None:
    try:
        return parse_datetime(text)
    except ValueError:
        return None


def text_of(instant: datetime, calendar: Calendar) -> str:
    """What the field takes: with the offset where clocks show the time twice."""
    local = instant.astimezone(calendar.zone)
    is_shown_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    return (local if is_shown_twice else local.replace(tzinfo=None)).isoformat(timespec="minutes")


def name_of(span: Span, calendar: Calendar, *, with_day: bool = True) -> str:
    """`2026-11-20, 14:00 to 15:00`, or `14:00 to 15:00` where the day is known; a longer span has both its days."""
    (first_day, start), (last_day, end) = (text_of(instant, calendar).split("T") for instant in span)
    if calendar.date_of(span.start) != calendar.date_of(span.end - _SECOND):
        return f"{first_day} {start} to {last_day} {end}"
    return f"{first_day}, {start} to {end}" if with_day else f"{start} to {end}"
