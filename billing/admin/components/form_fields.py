"""Form fields: amounts, reasons, and local times in URLs. (`costtrack.date_fields` has starts and ends in forms.)"""

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from costtrack.calendar import Calendar
from costtrack.dates import NonexistentTimeError, parse_end, parse_start
from costtrack.money import DECIMALS, DIGITS, is_amount, plain
from costtrack.name_fields import NameFormField

_EARLIEST, _LATEST = 2000, 2199  # years
_MAX_LENGTH = 255
_SELECTED = SafeString(" selected")
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

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and value.strip() and not is_amount(value.strip()):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)


def reason_field(*, label: str = "Reason", max_length: int, is_first: bool = False, **options: Any) -> forms.CharField:
    widget = UnfoldAdminTextInputWidget(attrs={"autofocus": True} if is_first else None)
    return forms.CharField(label=label, max_length=max_length, widget=widget, **options)


class FilterInput(forms.TextInput):
    """A text input that is rendered without a template: pages have up to twenty of them."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        attributes = {"type": self.input_type, "name": name, **self.build_attrs(self.attrs, attrs)}
        text = self.format_value(value)
        return format_html("<input{}>", flatatt(attributes if text is None else {**attributes, "value": text}))


class FilterSelect(forms.Select):
    """A select without groups that is rendered without a template."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        chosen = self.format_value(value)
        options = format_html_join(
            "",
            '<option value="{}"{}>{}</option>',
            ((option, _SELECTED if str(option) in chosen else "", label) for option, label in self.choices),
        )
        attributes = {"name": name, **self.build_attrs(self.attrs, attrs)}
        return format_html("<select{}>{}</select>", flatatt(attributes), options)


class FilterChoiceField(forms.ChoiceField):
    widget = FilterSelect


def text_filter(label: str, **attributes: str) -> forms.CharField:
    """Return a filter by any text. Unknown values are valid and match nothing."""
    widget = FilterInput(attrs={"autocomplete": "off", **attributes})
    return NameFormField(required=False, max_length=_MAX_LENGTH, label=label, widget=widget)


def select_filter(label: str) -> forms.CharField:
    """Return a filter by any text that is chosen from a list, whose options the form sets."""
    return NameFormField(required=False, max_length=_MAX_LENGTH, label=label, widget=FilterSelect)


class SuggestingInput(UnfoldAdminTextInputWidget):
    """A text input with suggestions; any other text is possible too."""

    suggestions: Sequence[str] = ()

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        if not self.suggestions:
            return super().render(name, value, attrs, renderer)
        field = super().render(name, value, {**(attrs or {}), "list": f"{name}-suggestions"}, renderer)
        options = format_html_join("", '<option value="{}"></option>', ((text,) for text in self.suggestions))
        return format_html('{}<datalist id="{}-suggestions">{}</datalist>', field, name, options)


class TimeInput(forms.TextInput):
    """A `datetime-local` input for times without an offset; a text input for others."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        context = super().get_context(name, value, attrs)
        if _BROWSER_FORMAT.fullmatch(context["widget"]["value"] or ""):
            context["widget"]["type"] = "datetime-local"
        return context


class TimeField(forms.Field):
    """A local time, or a day, of the organization, cleaned to an aware datetime; the form sets `calendar`."""

    widget = TimeInput
    calendar: Calendar

    def __init__(self, *, label: str, is_end: bool = False) -> None:
        super().__init__(required=False, label=label)
        self._parse = parse_end if is_end else parse_start

    def to_python(self, value: object) -> datetime | None:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            instant = self._parse(text, self.calendar, self.calendar.zone)
        except NonexistentTimeError:
            raise forms.ValidationError(
                "This time does not exist because clocks were set forward. Choose another time."
            ) from None
        except ValueError:
            raise forms.ValidationError("Enter a time such as 2026-11-20T14:00.") from None
        if not _EARLIEST <= instant.year <= _LATEST:
            raise forms.ValidationError(f"Enter a year from {_EARLIEST} to {_LATEST}.")
        return instant
