"""What the files of the exports page are asked to contain."""

from collections.abc import Iterable
from typing import Any, Self

from django import forms
from django.http import QueryDict

from billing.admin.components.date_range import CUSTOM, RANGES, PeriodForm
from billing.exports.usage_csv import Rows
from billing.reports.usage.figures import NO_CREDENTIAL, UsageFilter
from billing.types import Status
from organizations.models import APICredential

ALL = "all"
_ROWS = ((Rows.REQUESTS.value, "Each model call"), (Rows.DAYS.value, "Each day"))
_MAX_LENGTH = 255
_DATES = ("start_date", "end_date")


def _word(label: str, **attributes: str) -> forms.CharField:
    widget = forms.TextInput(attrs={"autocomplete": "off", **attributes})
    return forms.CharField(required=False, max_length=_MAX_LENGTH, label=label, widget=widget)


class _ExportForm(PeriodForm):
    """`download` is what the browser knows the answer by (`exports.js`)."""

    download = forms.RegexField(r"^[0-9]{1,20}$", required=False, widget=forms.HiddenInput)

    @classmethod
    def offered(cls, query: QueryDict, **options: Any) -> Self:
        """Not sent yet. Other pages may lead here with filters."""
        return cls(initial=cls._given(query), **options)

    @classmethod
    def query(cls, query: QueryDict, **options: Any) -> Self:
        """Sent. The days beside a named period are hidden, so they are not meant."""
        given = cls._given(query)
        if given["range"] != CUSTOM:
            given = {name: value for name, value in given.items() if name not in _DATES}
        return cls(given, **options)

    @classmethod
    def _given(cls, query: QueryDict) -> dict[str, str]:
        given = {name: str(query[name]) for name in cls.base_fields if name in query}
        if not given.get("range"):
            given["range"] = CUSTOM if any(map(given.get, _DATES)) else cls.default_range.value
        return given


class UsageExportForm(_ExportForm):
    """The parameters of `GET /usage/export`."""

    rows = forms.ChoiceField(required=False, label="A row for", choices=_ROWS)
    client_id = _word("Client ID", list="ct-credentials", placeholder="All credentials")
    capability = _word("Capability", placeholder="All")
    model = _word("Model", placeholder="All")
    status = forms.ChoiceField(required=False, choices=(("", "All"), *Status.choices), label="Status")
    endpoint = _word("Endpoint", placeholder="All")

    field_order = ("rows", "range", "start_date", "end_date")

    def clean_rows(self) -> Rows:
        return Rows(self.cleaned_data["rows"] or Rows.REQUESTS)

    def clean(self) -> dict[str, Any]:
        found = super().clean()
        if found.get("rows") is Rows.DAYS and found.get("endpoint"):
            self.add_error("endpoint", "Days are not known by endpoint.")
        return found

    @property
    def filters(self) -> UsageFilter:
        found = self.cleaned_data
        return UsageFilter(found["client_id"], found["capability"], found["model"], found["status"])


class PricingExportForm(_ExportForm):
    """Of the parameters of `POST /system/export` those that people know the values of."""

    range = forms.ChoiceField(choices=(*RANGES[:-1], (ALL, "All time"), RANGES[-1]), required=False, label="Period")
    model = _word("Model", placeholder="All")
    group_id = _word("Group id", placeholder="All")
    session_id = _word("Session id", placeholder="All")

    field_order = ("range", "start_date", "end_date")


def credential_choices(credentials: Iterable[APICredential]) -> list[tuple[str, str]]:
    """What can be typed as a Client ID, and what it means."""
    return [
        *((one.client_id, one.name) for one in credentials),
        (NO_CREDENTIAL, "what was recorded without a credential"),
    ]
