"""The forms of the exports page."""

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
_ROWS = ((Rows.REQUESTS.value, "Model call"), (Rows.DAYS.value, "Day"))
_MAX_LENGTH = 255
_DATES = ("start_date", "end_date")


def _text_field(label: str, **attributes: str) -> forms.CharField:
    widget = forms.TextInput(attrs={"autocomplete": "off", **attributes})
    return forms.CharField(required=False, max_length=_MAX_LENGTH, label=label, widget=widget)


class _ExportForm(PeriodForm):
    """`download` identifies the download to the browser (`exports.js`)."""

    download = forms.RegexField(r"^[0-9]{1,20}$", required=False, widget=forms.HiddenInput)

    @classmethod
    def offered(cls, query: QueryDict, **options: Any) -> Self:
        """Return the unsubmitted form. Other pages link here with filters."""
        return cls(initial=cls._given(query), **options)

    @classmethod
    def query(cls, query: QueryDict, **options: Any) -> Self:
        """Return the submitted form. Dates are ignored unless the range is custom, because they are hidden then."""
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

    rows = forms.ChoiceField(required=False, label="One row per", choices=_ROWS)
    client_id = _text_field("Client ID", list="ct-credentials", placeholder="All credentials")
    capability = _text_field("Capability", placeholder="All")
    model = _text_field("Model", placeholder="All")
    status = forms.ChoiceField(required=False, choices=(("", "All"), *Status.choices), label="Status")
    endpoint = _text_field("Endpoint", placeholder="All")

    field_order = ("rows", "range", "start_date", "end_date")

    def clean_rows(self) -> Rows:
        return Rows(self.cleaned_data["rows"] or Rows.REQUESTS)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("rows") is Rows.DAYS and cleaned.get("endpoint"):
            self.add_error("endpoint", "The daily export cannot be filtered by endpoint.")
        return cleaned

    @property
    def filters(self) -> UsageFilter:
        cleaned = self.cleaned_data
        return UsageFilter(cleaned["client_id"], cleaned["capability"], cleaned["model"], cleaned["status"])


class PricingExportForm(_ExportForm):
    """The parameters of `POST /system/export` that users know values for."""

    range = forms.ChoiceField(choices=(*RANGES[:-1], (ALL, "All time"), RANGES[-1]), required=False, label="Period")
    model = _text_field("Model", placeholder="All")
    group_id = _text_field("Group id", placeholder="All")
    session_id = _text_field("Session id", placeholder="All")

    field_order = ("range", "start_date", "end_date")


def credential_choices(credentials: Iterable[APICredential]) -> list[tuple[str, str]]:
    """Return the suggested Client IDs with their names."""
    return [
        *((credential.client_id, credential.name) for credential in credentials),
        (NO_CREDENTIAL, "recorded without a credential"),
    ]
