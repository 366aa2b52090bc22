"""The choice of a span of time: presets, or two days."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.http import QueryDict

from costtrack.calendar import Calendar, Preset, Span

CUSTOM = "custom"
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
_EARLIEST, _LATEST = 2000, 2199  # years; the ledger has nothing before


class PeriodForm(forms.Form):
    """The parameters are those of the API (`range`, `start_date`, `end_date`; the last day is included). An empty
    parameter is none. Subclasses add the page's own filters."""

    default_range = Preset.DAYS_30

    range = forms.ChoiceField(choices=RANGES, required=False, label="Period")
    start_date = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    end_date = forms.DateField(required=False, label="To", widget=forms.DateInput(attrs={"type": "date"}))

    def clean_range(self) -> str:
        return self.cleaned_data["range"] or ("" if self.data.get("start_date") else self.default_range.value)

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        start, end = found.get("start_date"), found.get("end_date")
        for name, day in (("start_date", start), ("end_date", end)):
            if day is not None and not _EARLIEST <= day.year <= _LATEST:
                self.add_error(name, f"A year from {_EARLIEST} to {_LATEST}.")
        if start is None and (end is not None or found.get("range") == CUSTOM) and not self.errors:
            self.add_error("start_date", "Say where the period begins.")
        if start is not None and end is not None and end < start:
            self.add_error("end_date", "The period ends before it begins.")
        return found


@dataclass(frozen=True, slots=True)
class Period:
    """`name` is that of the choice, for a heading."""

    span: Span
    name: str
    is_custom: bool


def with_range(data: QueryDict, default: Preset) -> QueryDict:
    """With the range that is meant where none is named: so the form shows what the page does."""
    filled = data.copy()
    if not filled.get("range"):
        filled["range"] = CUSTOM if filled.get("start_date") or filled.get("end_date") else default.value
    return filled


def period_of(form: PeriodForm, calendar: Calendar, now: datetime) -> Period:
    """What a form chooses; one that is wrong chooses its default, beside its errors."""
    found = form.cleaned_data if form.is_valid() else {}
    start = found.get("start_date")
    if start is not None:
        last = found.get("end_date") or max(calendar.date_of(now), start)
        name = f"{start:%Y-%m-%d}" if start == last else f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"
        return Period(calendar.days(start, last), name, is_custom=True)
    preset = Preset(found.get("range") or form.default_range)
    return Period(calendar.preset(preset, now), dict(RANGES)[preset.value], is_custom=False)
