"""The admin of events without a price, with advice per model."""

from dataclasses import dataclass
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.list_filters import ChoiceFilter, ExactTextFilter
from billing.admin.components.model_admins import (
    OrganizationFilter,
    SingleOrganizationAdmin,
    SingleOrganizationList,
    shown_organization,
)
from billing.admin.prices.price_hints import HINTS, price_form_url
from billing.ledger.price_unpriced import price_unpriced
from billing.models import UnpricedEvent
from billing.reports.unpriced import UnpricedModel, unpriced_models
from billing.types import UnpricedReason
from costtrack.clock import utc_now
from organizations.models import Organization


class ReasonFilter(ChoiceFilter):
    title = "reason"
    parameter_name = "reason"
    options = UnpricedReason


class UnpricedModelFilter(ExactTextFilter):
    title = "model (exact name)"
    parameter_name = "model"
    column = "model"


@dataclass(frozen=True, slots=True)
class Advice:
    """A model without a price, and what to do about it."""

    unpriced: UnpricedModel
    reason: str
    hint: str
    price_url: str


class UnpricedList(SingleOrganizationList):
    """Adds advice per model above the list."""

    may_manage: bool
    advice: list[Advice]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.may_manage = cast("UnpricedEventAdmin", self.model_admin).may_manage_shown(request)
        self.advice = []
        if self.organization is not None and self.result_count:
            self.advice = [_advice(self.organization, unpriced) for unpriced in unpriced_models(self.organization)]


def _advice(organization: Organization, unpriced: UnpricedModel) -> Advice:
    url = ""
    if unpriced.reason != UnpricedReason.NO_MODEL.value:
        url = price_form_url(organization.pk, unpriced.service, unpriced.model, unpriced.first_at)
    return Advice(unpriced, UnpricedReason(unpriced.reason).label, HINTS.get(unpriced.reason, ""), url)


@admin.register(UnpricedEvent)
class UnpricedEventAdmin(SingleOrganizationAdmin):
    read_only = True
    list_display = ("occurred", "model_name", "why")
    preserve_filters = False  # its rows link to the ledger
    list_filter = (OrganizationFilter, ReasonFilter, UnpricedModelFilter)
    list_before_template = "admin/billing/unpricedevent/list_before.html"
    ordering = ("-event_id",)
    empty_title = "Every event has a price"
    empty_text = "Events without a known cost are listed here until a price is set."

    def narrow(self, request: HttpRequest, queryset: QuerySet[UnpricedEvent]) -> QuerySet[UnpricedEvent]:
        # The index on the id begins with the organization, so one row is found through the organizations.
        return queryset.filter(organization__in=Organization.objects.all())

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return UnpricedList

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.price_now)
        return [path("price-now/", view, name="billing_unpricedevent_price_now"), *super().get_urls()]

    def price_now(self, request: HttpRequest) -> HttpResponse:
        """Price the organization's events that now have a price. A GET changes nothing."""
        organization = shown_organization(request)
        if organization is None or not self.may_manage_shown(request):
            raise PermissionDenied
        if request.method == "POST":
            priced = price_unpriced(organization=organization, now=utc_now())
            if priced:
                messages.success(request, f"{priced:,} {'event was' if priced == 1 else 'events were'} priced.")
            else:
                messages.warning(request, "No events could be priced. Set a price for their models first.")
        url = reverse("admin:billing_unpricedevent_changelist")
        return HttpResponseRedirect(f"{url}?{urlencode({'organization': organization.pk})}")

    @admin.display(description="Occurred (UTC)")
    def occurred(self, unpriced: UnpricedEvent) -> str:
        return formatting.instant(unpriced.occurred_at)

    @admin.display(description="Model")
    def model_name(self, unpriced: UnpricedEvent) -> SafeString:
        return formatting.two_lines(unpriced.model or formatting.NOTHING, unpriced.service)

    @admin.display(description="Reason")
    def why(self, unpriced: UnpricedEvent) -> str:
        return unpriced.get_reason_display()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the event's page, which checks permissions."""
        return HttpResponseRedirect(formatting.change_url("billing_usageevent", id=object_id))
