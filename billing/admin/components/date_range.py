"""A form for a date range: presets, or a first and a last day."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.http import QueryDict

from costtrack.calendar import Calendar, Preset, Span

CUSTOM = "custom"
_DATES = ("start_date", "end_date")
RANGES = (
    (Preset.TODAY.value, "Today"),
    (Preset.YESTERDAY.value, "Yesterday"),
    (Preset.DAYS_7.value, "Last 7 days"),
    (Preset.WEEK.value, "This week"),
    (Preset.LAST_WEEK.value, "Last week"),
    (Preset.DAYS_30.value, "Last 30 days"),
    (Preset.MONTH.value, "This month"),
    (Preset.LAST_MONTH.value, "Last month"),
    (Preset.DAYS_90.value, "Last 90 days"),
    (CUSTOM, "Custom"),
)
_EARLIEST, _LATEST = 2000, 2199  # years


class PeriodForm(forms.Form):
    """The parameters of the API (`range`, `start_date`, `end_date`; the last day is inclusive). An empty parameter
    counts as missing, and so do dates unless the range is custom, because they are hidden then. Subclasses add the
    page's own filters."""

    default_range = Preset.DAYS_30

    range = forms.ChoiceField(choices=RANGES, required=False, label="Period")
    start_date = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    end_date = forms.DateField(required=False, label="To", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, data: QueryDict | None = None, **options: Any) -> None:
        super().__init__(None if data is None else self.with_range(data), **options)

    @classmethod
    def with_range(cls, data: QueryDict) -> QueryDict:
        """Fill in the effective range if none is given, so that the form shows what the page uses."""
        filled = data.copy()
        if not filled.get("range"):
            has_dates = any(map(filled.get, _DATES))
            filled["range"] = CUSTOM if has_dates else cls.default_range.value
        if filled["range"] != CUSTOM:
            for name in _DATES:
                filled.pop(name, None)
        return filled

    def clean_range(self) -> str:
        return self.cleaned_data["range"] or ("" if self.data.get("start_date") else self.default_range.value)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        start, end = cleaned.get("start_date"), cleaned.get("end_date")
        for name, day in (("start_date", start), ("end_date", end)):
            if day is not None and not _EARLIEST <= day.year <= _LATEST:
                self.add_error(name, f"Enter a year from {_EARLIEST} to {_LATEST}.")
        if start is None and (end is not None or cleaned.get("range") == CUSTOM) and not self.errors:
            self.add_error("start_date", "Enter a start date.")
        if start is not None and end is not None and end < start:
            self.add_error("end_date", "The end must be after the start.")
        return cleaned


@dataclass(frozen=True, slots=True)
class Period:
    """A date range; `name` is its label for headings."""

    span: Span
    name: str
    is_custom: bool


def period_of(form: PeriodForm, calendar: Calendar, now: datetime) -> Period:
    """Return the chosen period; an invalid form falls back to its default range."""
    cleaned = form.cleaned_data if form.is_valid() else {}
    start = cleaned.get("start_date")
    if start is not None:
        last = cleaned.get("end_date") or max(calendar.date_of(now), start)
        name = f"{start:%Y-%m-%d}" if start == last else f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"
        return Period(calendar.days(start, last), name, is_custom=True)
    preset = Preset(cleaned.get("range") or form.default_range)
    return Period(calendar.preset(preset, now), dict(RANGES)[preset.value], is_custom=False)
