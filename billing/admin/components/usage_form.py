"""The filters of the usage page, and the query that they make. Their names and values are those of the API."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import cast

from django import forms
from django.http import QueryDict

from billing.admin.components.date_range import PeriodForm
from billing.admin.components.form_fields import FilterChoiceField, select_filter, text_filter
from billing.admin.components.organization_page import OrganizationPage
from billing.reports.usage.breakdown import FilterOptions, View, list_filter_options
from billing.reports.usage.figures import DIMENSIONS, GroupBy, UsageFilter
from billing.reports.usage.query import UsageQuery, build_query
from billing.types import NO_CREDENTIAL, Status
from costtrack.calendar import Span
from organizations.models import APICredential, Organization
from organizations.types import OrganizationName

NOT_STACKED = "none"
VIEWS = ((View.COST.value, "Cost"), (View.REQUESTS.value, "Requests"), (View.TOKENS.value, "Tokens"))
STACKS = (*((dimension.by.value, dimension.label) for dimension in DIMENSIONS), (NOT_STACKED, "No breakdown"))
BY_COST = "cost"
"""The order of the request log by cost, as its value of `sort_by`."""
FILTERS = tuple(dimension.parameter for dimension in DIMENSIONS)
MORE_FILTERS = (
    *("user_id", "team", "end_user", "provider", "service", "agent_id", "environment"),
    *("workflow_id", "session_id", "run_id", "tool", "tag"),
)
MAX_OPTIONS = 500


class UsageForm(PeriodForm):
    client_id = select_filter("API credential")
    capability = select_filter("Capability")
    model = select_filter("Model")
    status = FilterChoiceField(required=False, choices=(("", "Any status"), *Status.choices))
    user_id = text_filter("User", type="search", placeholder="All")
    team = text_filter("Team", type="search", placeholder="All")
    end_user = text_filter("End user", type="search", placeholder="All")
    provider = text_filter("Provider", type="search", placeholder="All")
    service = text_filter("Service", type="search", placeholder="All")
    agent_id = text_filter("Agent", type="search", placeholder="All")
    environment = text_filter("Environment", type="search", placeholder="All")
    workflow_id = text_filter("Workflow", type="search", placeholder="All")
    session_id = text_filter("Session", type="search", placeholder="All")
    run_id = text_filter("Run", type="search", placeholder="All")
    tool = text_filter("Tool", type="search", placeholder="All")
    tag = text_filter("Tag", type="search", placeholder="All")
    view = forms.ChoiceField(required=False, choices=VIEWS, label="View by", widget=forms.HiddenInput)
    group_by = forms.ChoiceField(required=False, choices=STACKS, label="Stacked by", widget=forms.HiddenInput)

    @property
    def basic_fields(self) -> list[forms.BoundField]:
        return [field for field in self.visible_fields() if field.name not in MORE_FILTERS]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in MORE_FILTERS]

    @property
    def has_more_filters(self) -> bool:
        return any(field.value() for field in self.more_fields)

    @property
    def css(self) -> str:
        """The class of the chosen range, which decides the visible fields."""
        return f"ct-{self['range'].value() or ''}"

    def offer_organizations(self, names: Sequence[OrganizationName], current: Organization) -> None:
        """Add the filter by organization, unless there is only one."""
        if len(names) > 1:
            choices = [(name.slug, name.name) for name in names]
            self.fields["organization"] = FilterChoiceField(choices=choices, required=False, initial=current.slug)
            data = cast("QueryDict", self.data).copy()
            data["organization"] = current.slug
            self.data = data
            self.order_fields(["organization"])

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
        self._offer("client_id", "All credentials", [*named, (NO_CREDENTIAL, "No credential")])
        self._offer("capability", "All capabilities", [(name, name) for name in used.capabilities])
        self._offer("model", "All models", [(name, name) for name in used.models])

    def _offer(self, name: str, empty_label: str, offered: list[tuple[str, str]]) -> None:
        chosen = self.data.get(name, "").strip()
        if chosen and chosen not in dict(offered):
            offered = [(chosen, chosen), *offered]
        cast("forms.Select", self.fields[name].widget).choices = [("", empty_label), *offered[:MAX_OPTIONS]]


class UsageQueryPage(OrganizationPage):
    """A page with a usage query."""

    def usage_query(self, filters: UsageFilter, window: Span) -> UsageQuery:
        """Build the query. Raises ForbiddenError for a period outside the plan's history."""
        return build_query(
            organization=self.organization,
            filters=filters,
            window=window,
            now=self.now,
            rights=self.plan_rights,
        )

    def offer(self, form: UsageForm, *, since: datetime) -> None:
        """Offer the organization's credentials and what was used since then."""
        credentials = APICredential.objects.of(self.organization).order_by("name", "id")
        form.offer(
            credentials=credentials.values_list("client_id", "name")[:MAX_OPTIONS],
            used=list_filter_options(organization=self.organization, since=since),
        )
