"""The filters of the usage page, and the query that they make. Their names and values are those of the API."""

from collections.abc import Iterable
from typing import cast

from django import forms
from django.http import QueryDict, StreamingHttpResponse

from billing.admin.components.date_range import PeriodForm, with_range
from billing.admin.components.organization_page import OrganizationPage
from billing.exports.usage_csv import Rows, file_name, usage_csv
from billing.reports.usage.breakdown import FilterOptions, View
from billing.reports.usage.figures import NO_CREDENTIAL, GroupBy, UsageFilter
from billing.reports.usage.query import UsageQuery, build_query
from billing.types import Status
from costtrack.calendar import Span
from costtrack.errors import DomainError
from organizations.selectors import refusal_without_api, refusal_without_exports

NOT_STACKED = "none"
VIEWS = ((View.COST.value, "Cost"), (View.REQUESTS.value, "Requests"), (View.TOKENS.value, "Tokens"))
STACKS = (
    (GroupBy.MODEL.value, "Model"),
    (GroupBy.CAPABILITY.value, "Capability"),
    (GroupBy.CREDENTIAL.value, "Credential"),
    (GroupBy.STATUS.value, "Status"),
    (NOT_STACKED, "Nothing"),
)
BY_COST = "cost"
"""The order of the request log by cost, as its value of `sort_by`."""
FILTERS = ("client_id", "capability", "model", "status")
_MAX_LENGTH = 255
MAX_OPTIONS = 500


def _any_text(label: str) -> forms.CharField:
    """Offer the values that were used; unknown values are valid and match nothing."""
    return forms.CharField(required=False, max_length=_MAX_LENGTH, label=label, widget=forms.Select)


class UsageForm(PeriodForm):
    client_id = _any_text("API credential")
    capability = _any_text("Capability")
    model = _any_text("Model")
    status = forms.ChoiceField(required=False, choices=(("", "Any status"), *Status.choices))
    view = forms.ChoiceField(required=False, choices=VIEWS, label="View by", widget=forms.HiddenInput)
    group_by = forms.ChoiceField(required=False, choices=STACKS, label="Stacked by", widget=forms.HiddenInput)

    def __init__(self, data: QueryDict) -> None:
        super().__init__(with_range(data, self.default_range))

    @property
    def filters(self) -> UsageFilter:
        """The values of the valid filters."""
        self.is_valid()
        return UsageFilter(**{name: self.cleaned_data.get(name, "") for name in FILTERS})

    @property
    def view_shown(self) -> View:
        return View(self.cleaned_data.get("view") or View.COST)

    @property
    def stacked_by(self) -> GroupBy | None:
        group_by = self.cleaned_data.get("group_by") or GroupBy.MODEL.value
        return None if group_by == NOT_STACKED else GroupBy(group_by)

    def offer(self, *, credentials: Iterable[tuple[str, str]], used: FilterOptions) -> None:
        """Set the choices: Client IDs with their names, capabilities and models."""
        named = [(client_id, f"{name} ({client_id})" if name else client_id) for client_id, name in credentials]
        self._offer("client_id", "All credentials", [*named, (NO_CREDENTIAL, "Without a credential")])
        self._offer("capability", "All capabilities", [(name, name) for name in used.capabilities])
        self._offer("model", "All models", [(name, name) for name in used.models])

    def _offer(self, name: str, empty_label: str, offered: list[tuple[str, str]]) -> None:
        chosen = self.data.get(name, "").strip()
        if chosen and chosen not in dict(offered):
            offered = [(chosen, chosen), *offered]
        cast("forms.Select", self.fields[name].widget).choices = [("", empty_label), *offered[:MAX_OPTIONS]]


class UsageQueryPage(OrganizationPage):
    """A page with a usage query. Plan restrictions do not apply to operators, as in the API."""

    def usage_query(self, filters: UsageFilter, window: Span) -> UsageQuery:
        """Build the query. Raises ForbiddenError for a period outside the plan's history."""
        return build_query(
            organization=self.organization,
            filters=filters,
            window=window,
            now=self.now,
            has_full_history=self.user.is_superuser,
        )

    def api_refusal(self) -> DomainError | None:
        """Return the API's error if the plan has no API access."""
        plan = self.organization.plan
        return None if plan.api_access or self.user.is_superuser else refusal_without_api(plan)

    def exports_refusal(self) -> DomainError | None:
        """Return the API's error if the plan does not allow the CSV."""
        plan = self.organization.plan
        return self.api_refusal() or (None if plan.exports or self.user.is_superuser else refusal_without_exports(plan))

    def csv_response(self, query: UsageQuery, rows: Rows, *, endpoint: str = "") -> StreamingHttpResponse:
        """Stream the CSV of `GET /usage/export`."""
        name = file_name(organization=self.organization, rows=rows, window=query.window)
        return StreamingHttpResponse(
            usage_csv(query, rows, endpoint=endpoint),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
