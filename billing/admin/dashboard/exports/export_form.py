"""The forms of the exports page."""

from collections.abc import Iterable
from typing import Any, Self

from django import forms
from django.http import QueryDict

from billing.admin.components.date_range import RANGES, PeriodForm
from billing.admin.components.form_fields import FilterChoiceField, text_filter
from billing.exports.usage_files import Rows
from billing.reports.usage.figures import DIMENSIONS, UsageFilter
from billing.types import NO_CREDENTIAL, Status
from costtrack.file_columns import FORMAT_LABELS
from organizations.models import APICredential

ALL = "all"
_ROWS = ((Rows.REQUESTS.value, "Model call"), (Rows.DAYS.value, "Day"))


class _ExportForm(PeriodForm):
    """`download` identifies the download to the browser (`exports.js`)."""

    download = forms.RegexField(r"^[0-9]{1,20}$", required=False, widget=forms.HiddenInput)

    @classmethod
    def offered(cls, query: QueryDict, **options: Any) -> Self:
        """Return the unsubmitted form. Other pages link here with filters."""
        return cls(initial=cls.with_range(query).dict(), **options)


class UsageExportForm(_ExportForm):
    """The parameters of `GET /usage/export`."""

    rows = FilterChoiceField(required=False, label="One row per", choices=_ROWS)
    format = FilterChoiceField(
        required=False, label="Format", choices=[(name.value, label) for name, label in FORMAT_LABELS]
    )
    client_id = text_filter("Client ID", list="ct-credentials", placeholder="All credentials")
    capability = text_filter("Capability", placeholder="All")
    model = text_filter("Model", placeholder="All")
    status = FilterChoiceField(required=False, choices=(("", "All"), *Status.choices), label="Status")
    endpoint = text_filter("Endpoint", placeholder="All")
    user_id = text_filter("User", placeholder="All")
    team = text_filter("Team", placeholder="All")
    end_user = text_filter("End user", placeholder="All")
    provider = text_filter("Provider", placeholder="All")
    service = text_filter("Service", placeholder="All")
    agent_id = text_filter("Agent", placeholder="All")
    environment = text_filter("Environment", placeholder="All")
    workflow_id = text_filter("Workflow", placeholder="All")
    session_id = text_filter("Session", placeholder="All")
    run_id = text_filter("Run", placeholder="All")
    tool = text_filter("Tool", placeholder="All")
    tag = text_filter("Tag", placeholder="All")

    field_order = ("rows", "format", "range", "start_date", "end_date")

    def clean_rows(self) -> Rows:
        return Rows(self.cleaned_data["rows"] or Rows.REQUESTS)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("rows") is Rows.DAYS and cleaned.get("endpoint"):
            self.add_error("endpoint", "The daily export cannot be filtered by endpoint.")
        return cleaned

    @property
    def filters(self) -> UsageFilter:
        return UsageFilter(**{item.parameter: self.cleaned_data[item.parameter] for item in DIMENSIONS})


class PricingExportForm(_ExportForm):
    """The parameters of `POST /system/export` that users know values for."""

    range = FilterChoiceField(choices=(*RANGES[:-1], (ALL, "All time"), RANGES[-1]), required=False, label="Period")
    model = text_filter("Model", placeholder="All")
    group_id = text_filter("Group id", placeholder="All")
    session_id = text_filter("Session id", placeholder="All")

    field_order = ("range", "start_date", "end_date")


def credential_choices(credentials: Iterable[APICredential]) -> list[tuple[str, str]]:
    """Return the suggested Client IDs with their names."""
    return [
        *((credential.client_id, credential.name) for credential in credentials),
        (NO_CREDENTIAL, "recorded without a credential"),
    ]
