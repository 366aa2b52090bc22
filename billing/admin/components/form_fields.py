"""Form fields: amounts, reasons, and times in the organization's time zone."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from costtrack.calendar import Calendar
from costtrack.money import DECIMALS, DIGITS, plain
from organizations.models import Organization

_UTC = ZoneInfo("UTC")
_EARLIEST, _LATEST = 2000, 2199  # years
_MAX_LENGTH = 255
_BROWSER_FORMAT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)?", re.ASCII)


class MoneyField(forms.DecimalField):
    """An amount in US dollars. The services validate its range."""

    def __init__(self, *, is_first: bool = False, **options: Any) -> None:
        # No number input, because browsers restrict its decimals.
        attributes = {"inputmode": "decimal", **({"autofocus": True} if is_first else {})}
        widget = UnfoldAdminTextInputWidget(attrs=attributes)
        super().__init__(max_digits=DIGITS, decimal_places=DECIMALS, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        return plain(value) if isinstance(value, Decimal) else value


class TimestampField(forms.SplitDateTimeField):
    """A date and time in `zone`; cleaned to an aware datetime."""

    zone: ZoneInfo = _UTC

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=UnfoldAdminSplitDateTimeWidget(), **options)

    def in_zone(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self.help_text = " ".join(filter(None, (str(self.help_text), f"Time zone: {zone.key}.")))

    def compress(self, data_list: Any) -> datetime | None:
        with timezone.override(self.zone):
            return super().compress(data_list)

    def prepare_value(self, value: Any) -> Any:
        is_aware = isinstance(value, datetime) and timezone.is_aware(value)
        return timezone.make_naive(value, self.zone) if is_aware else value


def reason_field(*, label: str = "Reason", max_length: int, is_first: bool = False, **options: Any) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(attrs={"autofocus": True} if is_first else None)
    return forms.CharField(label=label, max_length=max_length, widget=widget, **options)


def text_filter(label: str, **attributes: str) -> forms.CharField:
    """Return a filter by any text. Unknown values are valid and match nothing."""
    widget = forms.TextInput(attrs={"autocomplete": "off", **attributes})
    return forms.CharField(required=False, max_length=_MAX_LENGTH, label=label, widget=widget)


def select_filter(label: str) -> forms.CharField:
    """Return a filter by any text that is chosen from a list, whose options the form sets."""
    return forms.CharField(required=False, max_length=_MAX_LENGTH, label=label, widget=forms.Select)


def use_time_zone_of(organization: Organization, form: "forms.Form | forms.ModelForm[Any]") -> None:
    """Interpret the form's times in the organization's time zone, and say so in the help texts."""
    for field in form.fields.values():
        if isinstance(field, TimestampField):
            field.in_zone(organization.calendar.zone)


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
