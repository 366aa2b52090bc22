"""Serializer and form fields for the starts and ends of windows and periods (`costtrack.dates`)."""

from datetime import date, datetime, time
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.utils import from_current_timezone
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from unfold.widgets import UnfoldAdminSplitDateTimeWidget

from costtrack.calendar import Calendar
from costtrack.clock import iso
from costtrack.dates import UTC_CALENDAR, end_of, parse_day, parse_end, parse_month, parse_start

_SCHEMA = {
    "type": "string",
    "anyOf": [{"format": "date"}, {"format": "date-time"}],
    "examples": ["2026-11-02", "2026-11-02T09:00:00+01:00"],
}


@extend_schema_field(_SCHEMA)
class StartField(serializers.Field[datetime, Any, str, Any]):
    """A start: a date means the beginning of that day, in the calendar of the serializer's context, else `calendar`."""

    default_error_messages = {
        "invalid": "Not an ISO 8601 date or time, for example 2026-11-02 or 2026-11-02T09:00:00Z."
    }

    calendar: Calendar = UTC_CALENDAR

    def to_internal_value(self, data: Any) -> datetime:
        try:
            return self.parse(data) if isinstance(data, str) else self.fail("invalid")
        except ValueError:
            self.fail("invalid")

    def parse(self, text: str) -> datetime:
        return parse_start(text, self.context.get("calendar", self.calendar))

    def to_representation(self, value: datetime) -> str:
        return iso(value)


@extend_schema_field(_SCHEMA)
class EndField(StartField):
    """An end, excluded: a date includes its whole day."""

    def parse(self, text: str) -> datetime:
        return parse_end(text, self.context.get("calendar", self.calendar))


class DayField(serializers.DateField):
    """A date in the form `2026-11-02`; nothing else."""

    def to_internal_value(self, value: Any) -> date:
        try:
            return parse_day(value) if isinstance(value, str) else self.fail("invalid", format="YYYY-MM-DD")
        except ValueError:
            self.fail("invalid", format="YYYY-MM-DD")


@extend_schema_field({"type": "string", "pattern": r"^\d{4}-\d{2}$", "examples": ["2026-11"]})
class MonthField(serializers.Field[date, Any, str, Any]):
    """A month in the form `2026-11`, as its first day."""

    default_error_messages = {"invalid": "Not a month, for example 2026-11."}

    def to_internal_value(self, data: Any) -> date:
        try:
            return parse_month(data) if isinstance(data, str) else self.fail("invalid")
        except ValueError:
            self.fail("invalid")

    def to_representation(self, value: date) -> str:
        return f"{value:%Y-%m}"


class StartFormField(forms.MultiValueField):
    """A start: a date and an optional time in the time zone of `calendar`, cleaned to an aware datetime."""

    calendar: Calendar = UTC_CALENDAR

    def __init__(self, **options: Any) -> None:
        fields = (forms.DateField(), forms.TimeField(required=False))
        super().__init__(fields, require_all_fields=False, widget=UnfoldAdminSplitDateTimeWidget(), **options)
        self.text = str(self.help_text)

    def use_calendar(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self.help_text = " ".join(filter(None, (self.text, f"Time zone: {calendar.zone.key}.")))

    def has_changed(self, initial: Any, data: Any) -> bool:
        with timezone.override(self.calendar.zone):
            return super().has_changed(initial, data)

    def compress(self, data_list: Any) -> datetime | None:
        day, at = data_list or (None, None)
        if not isinstance(day, date):
            return None
        try:
            return self.instant(day, None if at in self.empty_values else at)
        except (OverflowError, ValueError):
            raise ValidationError("Enter a valid date.", code="invalid_date") from None

    def instant(self, day: date, at: time | None) -> datetime:
        return self.calendar.start_of(day) if at is None else self._local(day, at)

    def prepare_value(self, value: Any) -> Any:
        is_aware = isinstance(value, datetime) and timezone.is_aware(value)
        return timezone.make_naive(value, self.calendar.zone) if is_aware else value

    def _local(self, day: date, at: time) -> datetime:
        """Return a local time. Raises ValidationError if it does not exist, or is ambiguous, when clocks change."""
        with timezone.override(self.calendar.zone):
            instant: datetime = from_current_timezone(datetime.combine(day, at))
        return instant


class EndFormField(StartFormField):
    """An end, excluded: without a time the whole day is included."""

    def instant(self, day: date, at: time | None) -> datetime:
        return end_of(day if at is None else self._local(day, at), self.calendar)


def use_calendar(form: "forms.Form | forms.ModelForm[Any]", calendar: Calendar) -> None:
    """Interpret the form's dates and times in a calendar's time zone, and say so in the help texts."""
    for field in form.fields.values():
        if isinstance(field, StartFormField):
            field.use_calendar(calendar)
