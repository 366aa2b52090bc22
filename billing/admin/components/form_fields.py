"""Form fields of limits (amounts, and times in the organization's time zone), and service errors as form errors."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from costtrack.errors import DomainError
from costtrack.money import DECIMALS, DIGITS, plain
from organizations.models import Organization

_UTC = ZoneInfo("UTC")


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


def reason_field(*, label: str = "Reason", max_length: int, **options: Any) -> forms.CharField:
    return forms.CharField(label=label, max_length=max_length, widget=UnfoldAdminTextInputWidget(), **options)


def use_time_zone_of(organization: Organization, form: "forms.Form | forms.ModelForm[Any]") -> None:
    """Interpret the form's times in the organization's time zone, and say so in the help texts."""
    for field in form.fields.values():
        if isinstance(field, TimestampField):
            field.in_zone(organization.calendar.zone)


def add_service_error(form: "forms.Form | forms.ModelForm[Any]", error: DomainError) -> None:
    """Add a service's error to the field that it names, or to the form."""
    name = (error.param or "").split(".")[0]
    sentence = error.message.removeprefix(f"{name}: ")
    form.add_error(name if name in form.fields else None, sentence[:1].upper() + sentence[1:])
