"""The first steps: a credential, something that sends usage, and the first event, which appears by itself."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.server_url import server_address
from billing.admin.dashboard.getting_started.snippets import SECRET, environment, ways
from billing.ledger.net_cost import load_adjusted_event
from billing.models import UsageEvent
from billing.reports.event_list import first_event
from costtrack.admin_site import register_page
from costtrack.money import usd
from costtrack.organization_paths import outside_of_admin
from organizations.models import APICredential
from organizations.selectors import cheapest_plan_with_api
from organizations.types import Scope

_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class CredentialRow:
    name: str
    url: str
    client_id: str
    scopes: str
    state: SafeString
    last_used: SafeString | str


@dataclass(frozen=True, slots=True)
class FirstEvent:
    """What the first event says of itself. No `cost`: it waits for a price."""

    what: str
    cost: str
    tokens: str
    received: SafeString
    url: str


class _Steps(OrganizationPage):
    def first_event(self) -> FirstEvent | None:
        event = first_event(organization=self.organization)
        return None if event is None else self._told(event)

    def next_steps(self) -> dict[str, Any]:
        return {"may_change": self.role.may_change}

    def _told(self, event: UsageEvent) -> FirstEvent:
        # What had no price when it came may have one now.
        cost = event.cost_usd if event.cost_usd is not None else load_adjusted_event(event).cost_usd
        called = event.model or event.tool or event.get_kind_display()
        sent = event.input_tokens + event.cache_read_tokens + event.cache_creation_tokens
        return FirstEvent(
            what=f"{event.service} / {called}" if event.service else called,
            cost=usd(cost) if cost is not None else "",
            tokens=f"{formatting.count(sent)} in, {formatting.count(event.output_tokens)} out",
            received=datetimes.both(event.received_at, calendar=self.organization.calendar, now=self.now),
            url=formatting.page("billing_usageevent", id=event.pk),
        )


class GettingStartedPage(_Steps):
    title: ClassVar[str] = "Getting started"
    template_name: ClassVar[str] = "admin/dashboard/getting_started.html"
    refresh_seconds: ClassVar[int] = 0  # the last step alone refreshes

    def page_context(self) -> dict[str, Any]:
        plan, server = self.organization.plan, server_address(self.request)
        # One more than is shown tells whether there are others.
        found = list(self._credentials()[: _MAX_SHOWN + 1])
        sending = [one for one in found if one.is_usable(self.now) and Scope.USAGE_WRITE.value in one.scopes]
        return {
            **self.next_steps(),
            "credentials": [self._row(one) for one in found[:_MAX_SHOWN]],
            "has_more": len(found) > _MAX_SHOWN,
            "can_send": bool(sending),
            "variables": environment(server=server, client_id=sending[0].client_id if sending else ""),
            "secret": SECRET,
            "ways": ways(server=server, has_api=plan.api_access),
            "upgrade": None if plan.api_access else cheapest_plan_with_api(),
            "reference_url": outside_of_admin("schema-docs"),
            "first": self.first_event(),
        }

    def _credentials(self) -> Any:
        """Without revoked ones; the newest first."""
        return APICredential.objects.of(self.organization).filter(revoked_at=None).order_by("-id")

    def _row(self, credential: APICredential) -> CredentialRow:
        is_usable = credential.is_usable(self.now)
        used = credential.last_used_at
        return CredentialRow(
            name=credential.name,
            url=formatting.page("organizations_apicredential", id=credential.pk),
            client_id=credential.client_id,
            scopes=", ".join(credential.scopes),
            state=formatting.badge("active", "success") if is_usable else formatting.badge("expired", "warning"),
            last_used="never" if used is None else self._moment(used),
        )

    def _moment(self, instant: Any) -> SafeString:
        return datetimes.both(instant, calendar=self.organization.calendar, now=self.now)


class FirstEventPanel(_Steps):
    """The last step alone, which the page asks for until the first event is there."""

    title: ClassVar[str] = "Getting started"
    template_name: ClassVar[str] = "admin/dashboard/first_event.html"

    def page_context(self) -> dict[str, Any]:
        return self.next_steps()

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.headers.get("HX-Request"):
            return HttpResponseRedirect(reverse("admin:getting_started"))
        first = self.first_event()
        if first is None:
            return HttpResponse(status=HTTPStatus.NO_CONTENT)  # nothing on the page changes
        return self._answer(self.template_name, {**self.page_context(), "first": first})


register_page("start/", GettingStartedPage.as_view(), name="getting_started")
register_page("start/first-event/", FirstEventPanel.as_view(), name="first_event")
