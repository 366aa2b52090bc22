"""A form for a date range: presets, or a first and a last day."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django import forms
from django.http import QueryDict

from billing.admin.components.form_fields import FilterChoiceField
from costtrack.calendar import Calendar, Preset, Span
from costtrack.date_text import days_text

CUSTOM = "custom"
_DATES = ("start_date", "end_date")
_PERIOD = ("range", *_DATES)
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
_PRESETS = frozenset(Preset)
_EARLIEST, _LATEST = 2000, 2199  # years


class PeriodForm(forms.Form):
    """The parameters of the API (`range`, `start_date`, `end_date`; the last day is inclusive). An empty parameter
    counts as missing, and so do dates unless the range is custom, because they are hidden then. Subclasses add the
    page's own filters."""

    default_range = Preset.DAYS_30

    range = FilterChoiceField(choices=RANGES, required=False, label="Period")
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
        if "range" in self.errors:
            self._show_default_range()
        start, end = cleaned.get("start_date"), cleaned.get("end_date")
        for name, day in (("start_date", start), ("end_date", end)):
            if day is not None and not _EARLIEST <= day.year <= _LATEST:
                self.add_error(name, f"Enter a year from {_EARLIEST} to {_LATEST}.")
        if start is None and (end is not None or cleaned.get("range") == CUSTOM) and not self.errors:
            self.add_error("start_date", "Enter a start date.")
        if start is not None and end is not None and end < start:
            self.add_error("end_date", "The end must be after the start.")
        return cleaned

    def _show_default_range(self) -> None:
        """Select the range that the page uses instead of an unknown one, and say so."""
        shown = dict(RANGES)[self.default_range.value]
        self.errors["range"] = self.error_class([f"Unknown period. {shown} is shown instead."])
        data = cast("QueryDict", self.data).copy()
        data["range"] = self.default_range.value
        self.data = data


@dataclass(frozen=True, slots=True)
class Period:
    """A date range; `name` is its label for headings. `preset` is None for dates that were chosen."""

    span: Span
    name: str
    preset: Preset | None

    @property
    def is_custom(self) -> bool:
        return self.preset is None

    def whole(self, calendar: Calendar, now: datetime) -> Span:
        """Return the range until the end of its day, week or month."""
        return self.span if self.preset is None else Span(self.span.start, calendar.preset_end(self.preset, now))

    def before(self, calendar: Calendar) -> Span:
        """Return what the range is compared with, in full."""
        return calendar.before(self.span) if self.preset is None else calendar.preset_before(self.preset, self.span)


def period_of(form: PeriodForm, calendar: Calendar, now: datetime) -> Period:
    """Return the chosen period; if it is invalid, the form's default range."""
    cleaned = {} if any(name in form.errors for name in _PERIOD) else form.cleaned_data
    start = cleaned.get("start_date")
    if start is not None:
        last = cleaned.get("end_date") or max(calendar.date_of(now), start)
        return Period(calendar.days(start, last), days_text(start, last), None)
    chosen = cleaned.get("range")
    preset = Preset(chosen) if chosen in _PRESETS else form.default_range
    return Period(calendar.preset(preset, now), dict(RANGES)[preset.value], preset)
