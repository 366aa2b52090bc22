"""The filters of the request log: those of the usage page, times to the minute, and what a call is part of."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

from django import forms
from django.http import QueryDict

from billing.admin.components.date_range import RANGES, Period, period_of
from billing.admin.components.local_times import TimeField, name_of
from billing.admin.components.usage_form import UsageForm
from billing.reports.usage.calls import CallFilter
from billing.reports.usage.figures import UsageFilter
from costtrack.calendar import Calendar, Preset, Span

TIMES = "times"
"""The choice of `range` that `start` and `end` belong to."""
BY_COST = "cost"
ORDERS = (("", "Newest first"), (BY_COST, "Most expensive first"))

_MAX_LENGTH = 255
_HOUR = timedelta(hours=1)
_DATES, _TIMES = ("start_date", "end_date"), ("start", "end")
_NOT_NARROWING = ("range", "sort_by", *_DATES, *_TIMES)
_PARTS = ("run", "session", "user", "tag")


def _word(label: str) -> forms.CharField:
    attributes = {"type": "search", "placeholder": "All", "autocomplete": "off"}
    return forms.CharField(
        required=False, max_length=_MAX_LENGTH, label=label, widget=forms.TextInput(attrs=attributes)
    )


class RequestLogForm(UsageForm):
    """Names as in `GET /usage/requests`, as far as that has them. What is written must be the whole of it. `start` is
    included, `end` is not."""

    SHOWN: ClassVar[Sequence[str]] = ("range", *_DATES, *_TIMES, "client_id", "model", "status")

    view = None  # type: ignore[assignment] # of charts; Django leaves out fields that are None
    group_by = None  # type: ignore[assignment]
    range = forms.ChoiceField(choices=(*RANGES, (TIMES, "Exact times")), required=False, label="Period")
    start = TimeField(label="From time")
    end = TimeField(label="To time")
    run = _word("Run id")
    session = _word("Session id")
    user = _word("User")
    tag = _word("Tag")
    sort_by = forms.ChoiceField(choices=ORDERS, required=False, label="Order", widget=forms.HiddenInput)

    def __init__(self, data: QueryDict, calendar: Calendar) -> None:
        super().__init__(_with_one_period(data))
        for name in _TIMES:
            cast("TimeField", self.fields[name]).calendar = calendar

    def clean(self) -> dict[str, Any]:
        found = super().clean()
        start, end = found.get("start"), found.get("end")
        if found.get("range") == TIMES and start is None and "start" not in self.errors:
            self.add_error("start", "Say where the period begins.")
        if start is not None and end is not None and end <= start:
            self.add_error("end", "The period ends before it begins.")
        return found

    def period(self, calendar: Calendar, now: datetime) -> Period:
        """What is chosen; where that is wrong, the default."""
        start = self.cleaned_data.get("start") if self.is_valid() else None
        if start is None:
            return period_of(self, calendar, now)
        end = self.cleaned_data["end"] or max(calendar.preset(Preset.TODAY, now).end, start + _HOUR)
        span = Span(start, end)
        return Period(span, name_of(span, calendar), is_custom=True)

    def calls(self, filters: UsageFilter, window: Span) -> CallFilter:
        """Of a form that is valid."""
        found = self.cleaned_data
        parts = {"run_id": found["run"], "session_id": found["session"], "user": found["user"], "tag": found["tag"]}
        return CallFilter(filters, window, **parts)

    @property
    def order(self) -> str:
        return self.cleaned_data.get("sort_by") or ""

    @property
    def kind_of_period(self) -> str:
        """`custom`, `times`, or another choice: which fields are shown."""
        return str(self["range"].value() or "")

    @property
    def always(self) -> list[forms.BoundField]:
        return [self[name] for name in self.SHOWN]

    @property
    def more(self) -> list[forms.BoundField]:
        return [self[name] for name in ("capability", *_PARTS)]

    @property
    def asks_for_more(self) -> bool:
        return any(field.value() for field in self.more)

    @property
    def asks_for_part(self) -> bool:
        """Of what no report about usage knows the sums."""
        return any(self.cleaned_data.get(name) for name in _PARTS)

    @property
    def is_narrowed(self) -> bool:
        """By more than a period."""
        return any(self.data.get(name) for name in self.fields if name not in _NOT_NARROWING)


def _with_one_period(data: QueryDict) -> QueryDict:
    """Times count where they are asked for, and then days do not: whoever chooses another period without a script sends
    them along."""
    filled = data.copy()
    if not filled.get("range") and (filled.get("start") or filled.get("end")):
        filled["range"] = TIMES
    for name in _DATES if filled.get("range") == TIMES else _TIMES:
        filled.pop(name, None)
    return filled
