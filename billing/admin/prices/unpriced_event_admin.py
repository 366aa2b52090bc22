"""The admin of events without a price, with advice per model."""

from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.datetimes import local_day, local_time
from billing.admin.components.list_filters import ChoiceFilter, ExactTextFilter
from billing.admin.components.model_admins import (
    OrganizationFilter,
    SingleOrganizationAdmin,
    SingleOrganizationList,
    shown_organization,
)
from billing.admin.components.tables import Column, Table, column
from billing.admin.components.urls import admin_url, event_url
from billing.admin.prices.price_hints import HINTS, price_form_url
from billing.ledger.price_unpriced import price_unpriced
from billing.models import UnpricedEvent
from billing.reports.unpriced import UnpricedModel, unpriced_models
from billing.types import UnpricedReason
from costtrack.clock import utc_now
from organizations.permissions import USAGE


class UnpricedList(SingleOrganizationList):
    """Adds a table of the models without a price above the list, with what to do about each."""

    may_manage: bool
    models: Table[UnpricedModel] | None = None

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        self.may_manage = cast("UnpricedEventAdmin", self.model_admin).may_manage_shown(request)
        if self.organization is None or not self.result_count:
            return
        columns = (
            Column[UnpricedModel](
                "Model", lambda unpriced: formatting.two_lines(unpriced.model or "No model", unpriced.service)
            ),
            Column[UnpricedModel]("Events", lambda unpriced: formatting.count(unpriced.events), is_number=True),
            Column[UnpricedModel]("Since", lambda unpriced: local_day(unpriced.first_at)),
            Column[UnpricedModel]("Reason", self._advice),
        )
        note = (
            "Unpriced events are priced automatically when a price is set, and every 10 minutes. The cost is added as "
            "an adjustment; existing rows do not change."
        )
        self.models = Table("Models without a price", columns, unpriced_models(self.organization), note=note)

    def _advice(self, unpriced: UnpricedModel) -> SafeString:
        reason, hint = UnpricedReason(unpriced.reason), HINTS.get(unpriced.reason, "")
        url = ""
        if self.may_manage and self.organization is not None and reason is not UnpricedReason.NO_MODEL:
            url = price_form_url(self.organization.pk, unpriced.service, unpriced.model, unpriced.first_at)
        return format_html("{}. {} {}", reason.label, hint, formatting.link(url, "Add price") if url else "")


@admin.register(UnpricedEvent)
class UnpricedEventAdmin(SingleOrganizationAdmin):
    resource = USAGE
    history_field = "occurred_at"
    read_only = True
    finds_through_organizations = True
    changelist_class = UnpricedList
    list_display = ("occurred", "model_name", "why")
    preserve_filters = False  # its rows link to the ledger
    list_filter = (
        OrganizationFilter,
        ChoiceFilter.of("reason", "reason", options=UnpricedReason),
        ExactTextFilter.of("model (exact name)", "model", column="model"),
    )
    list_before_template = "admin/billing/unpricedevent/list_before.html"
    ordering = ("-event_id",)
    empty_title = "Every event has a price"
    empty_text = "Events without a known cost are listed here until a price is set."

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
        return HttpResponseRedirect(admin_url("billing_unpricedevent_changelist", organization=organization.pk))

    occurred = column(UnpricedEvent, "Occurred", lambda row: local_time(row.occurred_at))

    @admin.display(description="Model")
    def model_name(self, unpriced: UnpricedEvent) -> SafeString:
        return formatting.two_lines(unpriced.model or formatting.NOTHING, unpriced.service)

    why = column(UnpricedEvent, "Reason", lambda row: row.get_reason_display())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the event's page, which checks permissions."""
        return HttpResponseRedirect(event_url(object_id))
