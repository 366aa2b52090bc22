"""The getting started page: a credential, snippets that send usage, and the first event."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.event_table import tokens_in
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url, change_url, event_url
from billing.admin.dashboard.getting_started.snippets import SECRET, environment, integrations
from billing.ingest.sample_event import send_sample_event
from billing.ledger.net_cost import load_adjusted_event
from billing.models import SpendLimit, UsageEvent
from billing.reports.events import first_event
from billing.types import SAMPLE_TOOL
from costtrack.admin_site import register_page
from costtrack.errors import ForbiddenError
from costtrack.money import usd
from costtrack.organization_paths import unprefixed_url
from costtrack.server_url import server_url
from organizations.models import APICredential, Membership
from organizations.permissions import CREDENTIALS, ORGANIZATION
from organizations.selectors import cheapest_plan_with_api
from organizations.types import Scope

_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ChecklistItem:
    """A step of the setup. `url` is empty for users who may not take it."""

    text: str
    is_done: bool
    url: str


class _Steps(OrganizationPage):
    resource = ORGANIZATION

    def first_event(self) -> dict[str, Any] | None:
        """Return what the page shows about the first event; None if there is none."""
        event = first_event(organization=self.organization)
        if event is None:
            return None
        # An event that was recorded without a price may have been priced since.
        cost = event.cost_usd if event.cost_usd is not None else load_adjusted_event(event).cost_usd
        called = event.model or event.tool or event.get_kind_display()
        unpriced = formatting.link(admin_url("billing_unpricedevent_changelist"), "View unpriced events")
        return {
            "received": self.times.two_lines(event.received_at),
            "url": event_url(event.pk),
            "is_sample": event.tool == SAMPLE_TOOL,
            "details": [
                ("What", f"{event.service} / {called}" if event.service else called),
                ("Tokens", f"{formatting.count(tokens_in(event))} in, {formatting.count(event.output_tokens)} out"),
                (
                    "Cost",
                    f"The {self.organization.plan.name} plan does not show costs."
                    if self.plan_rights.api_refusal() is not None
                    else formatting.strong(usd(cost))
                    if cost is not None
                    else format_html("Not known yet: the model has no price. {}", unpriced),
                ),
            ],
        }

    def next_steps(self) -> dict[str, Any]:
        return {"may_change": self.role.may_change}


class GettingStartedPage(_Steps):
    title: ClassVar[str] = "Getting started"
    template_name: ClassVar[str] = "admin/dashboard/getting_started.html"
    stylesheets = ("costtrack/getting_started.css",)
    refresh_seconds: ClassVar[int] = 0  # the last step alone refreshes

    def page_context(self) -> dict[str, Any]:
        plan, server = self.organization.plan, server_url(self.request)
        # One more than is shown, to know whether there are more.
        credentials = list(self._credentials()[: _MAX_SHOWN + 1])
        sending = [
            credential
            for credential in credentials
            if credential.is_usable(self.now) and Scope.USAGE_WRITE.value in credential.scopes
        ]
        return {
            **self.next_steps(),
            "checklist": self._checklist(has_credential=bool(sending)),
            "credentials": self._table(credentials[:_MAX_SHOWN]),
            "has_more": len(credentials) > _MAX_SHOWN,
            "can_send": bool(sending),
            "variables": environment(server=server, client_id=sending[0].client_id if sending else ""),
            "secret": SECRET,
            "integrations": integrations(server=server, has_api=plan.api_access),
            "upgrade": None if plan.api_access else cheapest_plan_with_api(),
            "reference_url": unprefixed_url("schema-docs"),
            "first": self.first_event(),
        }

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Send a test event."""
        if not self.role.may_change:
            raise ForbiddenError("Only owners and admins can send a test event.", code="missing_scope")
        send_sample_event(organization=self.organization, now=self.now)
        messages.success(request, "The test event was received. It costs nothing.")
        return HttpResponseRedirect(f"{request.path}#first-event")

    def _checklist(self, *, has_credential: bool) -> list[ChecklistItem]:
        organization = self.organization
        limits = SpendLimit.objects.of(organization).filter(removed_at=None, is_plan=False)
        members = Membership.objects.filter(organization=organization)
        items = (
            ("Create a credential", has_credential, "organizations_apicredential_add"),
            ("Send the first event", UsageEvent.objects.of(organization).exclude(tool=SAMPLE_TOOL).exists(), ""),
            ("Set a spend limit", limits.exists(), "billing_spendlimit_add"),
            ("Invite a colleague", len(members[:2]) > 1, "organizations_membership_add"),
        )
        return [
            ChecklistItem(text, is_done, (admin_url(view) if view else "#send-usage") if self.role.may_change else "")
            for text, is_done, view in items
        ]

    def _credentials(self) -> Any:
        """Return the credentials that are not revoked, newest first."""
        return APICredential.objects.of(self.organization).filter(revoked_at=None).order_by("-id")

    def _table(self, credentials: Sequence[APICredential]) -> Table[APICredential]:
        columns = (
            Column[APICredential]("Name", self._name),
            Column[APICredential]("Client ID", lambda row: format_html("<code>{}</code>", row.client_id)),
            Column[APICredential]("Scopes", lambda row: ", ".join(row.scopes)),
            Column[APICredential]("State", self._state),
            Column[APICredential](
                "Last used", lambda row: self.times.two_lines(row.last_used_at) if row.last_used_at else "never"
            ),
        )
        return Table("Credentials", columns, credentials)

    def _name(self, credential: APICredential) -> str:
        """Return the name, with a link for those who may open the credential's page."""
        if CREDENTIALS.read not in self.role.scopes:
            return credential.name
        return formatting.link(change_url("organizations_apicredential", credential.pk), credential.name)

    def _state(self, credential: APICredential) -> SafeString:
        is_usable = credential.is_usable(self.now)
        return formatting.badge("active", "success") if is_usable else formatting.badge("expired", "warning")


class FirstEventPanel(_Steps):
    """The last step, which the page polls until the first event has arrived."""

    title: ClassVar[str] = "Getting started"
    template_name: ClassVar[str] = "admin/dashboard/first_event.html"

    def page_context(self) -> dict[str, Any]:
        return self.next_steps()

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.headers.get("HX-Request"):
            return HttpResponseRedirect(admin_url("getting_started"))
        first = self.first_event()
        if first is None:
            return HttpResponse(status=HTTPStatus.NO_CONTENT)  # nothing on the page changes
        return self._respond(self.template_name, {**self.page_context(), "first": first})


register_page("start/", GettingStartedPage.as_view(), name="getting_started")
register_page("start/first-event/", FirstEventPanel.as_view(), name="first_event")
