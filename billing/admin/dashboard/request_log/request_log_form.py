"""The filters of the request log: those of the usage page, exact times, and run, session, user and tag."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

from django import forms
from django.http import QueryDict

from billing.admin.components.date_range import RANGES, Period, period_of
from billing.admin.components.datetimes import span_name
from billing.admin.components.form_fields import FilterChoiceField, TimeField, text_filter
from billing.admin.components.usage_form import BY_COST, MORE_FILTERS, UsageForm
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.request_log import CallFilter
from costtrack.calendar import Calendar, Preset, Span

TIMES = "times"
"""The choice of `range` that `start` and `end` belong to."""
ORDERS = (("", "Newest first"), (BY_COST, "Most expensive first"))

_HOUR = timedelta(hours=1)
_DATES, _TIMES = ("start_date", "end_date"), ("start", "end")
_NOT_NARROWING = ("range", "sort_by", *_DATES, *_TIMES)
_ALIASES = {"run": "run_id", "session": "session_id"}
"""Names of parameters that links and bookmarks may still have."""


class RequestLogForm(UsageForm):
    """Parameter names follow `GET /usage/requests`. Texts must match exactly. `start` is inclusive, `end` exclusive."""

    SHOWN: ClassVar[Sequence[str]] = ("range", *_DATES, *_TIMES, "client_id", "model", "status")

    view = None  # type: ignore[assignment] # of charts; Django leaves out fields that are None
    group_by = None  # type: ignore[assignment]
    range = FilterChoiceField(choices=(*RANGES, (TIMES, "Exact times")), required=False, label="Period")
    start = TimeField(label="From time")
    end = TimeField(label="To time", is_end=True)
    endpoint = text_filter("Endpoint", type="search", placeholder="All")
    sort_by = forms.ChoiceField(choices=ORDERS, required=False, label="Order", widget=forms.HiddenInput)

    def __init__(self, data: QueryDict, calendar: Calendar) -> None:
        super().__init__(_with_single_period(data))
        for name in _TIMES:
            cast("TimeField", self.fields[name]).calendar = calendar

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        start, end = cleaned.get("start"), cleaned.get("end")
        if cleaned.get("range") == TIMES and start is None and "start" not in self.errors:
            self.add_error("start", "Enter a start time.")
        if start is not None and end is not None and end <= start:
            self.add_error("end", "The end must be after the start.")
        return cleaned

    def period(self, calendar: Calendar, now: datetime) -> Period:
        """Return the chosen period, or the default for an invalid form."""
        start = self.cleaned_data.get("start") if self.is_valid() else None
        if start is None:
            return period_of(self, calendar, now)
        end = self.cleaned_data["end"] or max(calendar.preset(Preset.TODAY, now).end, start + _HOUR)
        span = Span(start, end)
        return Period(span, span_name(span, calendar), None)

    def calls(self, filters: UsageFilter, window: Span) -> CallFilter:
        """Return the filter; the form must be valid."""
        return CallFilter(filters, window, endpoint=self.cleaned_data["endpoint"])

    @property
    def order(self) -> str:
        return self.cleaned_data.get("sort_by") or ""

    @property
    def basic_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.SHOWN]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("capability", "endpoint", *MORE_FILTERS)]

    @property
    def has_call_filters(self) -> bool:
        """Whether a filter is set for which usage reports have no sums."""
        return bool(self.cleaned_data.get("endpoint"))

    @property
    def is_narrowed(self) -> bool:
        """Whether any filter besides the period is set."""
        return any(self.data.get(name) for name in self.fields if name not in _NOT_NARROWING)


def _with_single_period(data: QueryDict) -> QueryDict:
    """Keep either times or dates, depending on the range. Without JavaScript the browser sends both."""
    filled = data.copy()
    for alias, name in _ALIASES.items():
        if alias in filled:
            filled.setdefault(name, filled.pop(alias)[-1])
    if not filled.get("range") and (filled.get("start") or filled.get("end")):
        filled["range"] = TIMES
    for name in _DATES if filled.get("range") == TIMES else _TIMES:
        filled.pop(name, None)
    return filled
