"""The read-only admin of authorizations."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.list_filters import ChoiceFilter, PeriodFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, SingleOrganizationList
from billing.admin.components.server_url import server_url
from billing.admin.limits.authorization_page import authorization_page, badge
from billing.models import Authorization
from billing.types import AuthorizationStatus
from costtrack.clock import utc_now
from costtrack.ids import ids_at
from costtrack.money import usd

MAX_SEARCHED = 50_000
"""Ended statuses have no index and are searched only in this many of an organization's newest authorizations."""


class AuthorizationPeriodFilter(PeriodFilter):
    """Filters by ids, which are ordered by time."""

    def since(self, instant: datetime) -> dict[str, Any]:
        return {"id__gte": ids_at(instant)[0]}

    def until(self, instant: datetime) -> dict[str, Any]:
        return {"id__lte": ids_at(instant)[1]}


class StatusFilter(ChoiceFilter):
    title = "status"
    parameter_name = "status"
    options = AuthorizationStatus


class AuthorizationList(SingleOrganizationList):
    """Filters without an index search only the newest rows; a notice says how far back."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self.authorizations_url = f"{server_url(request)}/usage/authorizations"

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        if self.params.get("status", "") not in ("", AuthorizationStatus.RESERVED.value):
            for oldest in self._in_period(request).order_by("-id")[MAX_SEARCHED - 1 : MAX_SEARCHED]:
                self.notice = (
                    f"Searched the newest {MAX_SEARCHED:,} authorizations, back to "
                    f"{formatting.instant(oldest.created_at)} UTC. Choose a period to see older ones."
                )
                queryset = queryset.filter(id__gte=oldest.pk)
        return queryset

    def _in_period(self, request: HttpRequest) -> QuerySet[Any]:
        rows = self.root_queryset
        for spec in self.filter_specs:
            if isinstance(spec, PeriodFilter):
                return spec.queryset(request, rows)
        return rows


@admin.register(Authorization)
class AuthorizationAdmin(SingleOrganizationAdmin):
    read_only = True
    list_display = ("requested", "status_shown", "reserved", "settled", "what_for", "requested_with", "ended")
    list_filter = (OrganizationFilter, AuthorizationPeriodFilter, StatusFilter)
    search_fields = ("idempotency_key",)  # shows the field; `get_search_results` does the search
    search_help_text = "An authorization's id, or an idempotency key"
    ordering = ("-id",)
    fields = ()
    empty_title = "No authorizations yet"
    empty_template = "admin/billing/authorization/empty.html"

    def narrow(self, request: HttpRequest, queryset: QuerySet[Authorization]) -> QuerySet[Authorization]:
        return queryset.select_related("credential")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return AuthorizationList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Match complete ids and keys only, which have an index."""
        name = search_term.strip()
        if not name:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(name)), False
        except ValueError:
            return queryset.filter(idempotency_key=name), False

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        authorization: Authorization = context["original"]
        context["page"] = authorization_page(authorization, now=utc_now())
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Requested (UTC)")
    def requested(self, authorization: Authorization) -> str:
        return formatting.instant(authorization.created_at)

    @admin.display(description="Status")
    def status_shown(self, authorization: Authorization) -> SafeString:
        return badge(authorization, now=utc_now())

    @admin.display(description="Reserved")
    def reserved(self, authorization: Authorization) -> str:
        return usd(authorization.amount_usd)

    @admin.display(description="Settled at")
    def settled(self, authorization: Authorization) -> str:
        return formatting.NOTHING if authorization.settled_usd is None else usd(authorization.settled_usd)

    @admin.display(description="For")
    def what_for(self, authorization: Authorization) -> SafeString:
        second_line = (
            authorization.run_id or authorization.session_id or authorization.user_ref or authorization.service
        )
        return formatting.two_lines(authorization.model or formatting.NOTHING, second_line)

    @admin.display(description="Requested with")
    def requested_with(self, authorization: Authorization) -> str:
        return formatting.sender(authorization.credential_id, authorization.credential)

    @admin.display(description="Ended or expires (UTC)")
    def ended(self, authorization: Authorization) -> str:
        return formatting.instant(authorization.ended_at or authorization.expires_at)
