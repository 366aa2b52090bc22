"""The read-only admin of authorizations."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import local_time
from billing.admin.components.list_filters import ChoiceFilter, IdPeriodFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, SingleOrganizationList
from billing.admin.components.table_files import TableFiles
from billing.admin.components.tables import Column, Table, column
from billing.admin.components.urls import admin_url, event_url, ledger_url
from billing.models import Authorization, UsageEvent
from billing.types import AuthorizationStatus
from costtrack.clock import utc_now
from costtrack.file_columns import Kind, attributes
from costtrack.money import usd
from costtrack.server_url import server_url
from organizations.clock import zoned_time
from organizations.permissions import USAGE

MAX_SEARCHED = 50_000
"""Ended statuses have no index and are searched only in this many of an organization's newest authorizations."""


_MAX_EVENTS = 20
_BADGES = {
    AuthorizationStatus.RESERVED: "info",
    AuthorizationStatus.SETTLED: "success",
    AuthorizationStatus.RELEASED: "",
    AuthorizationStatus.EXPIRED: "warning",
}


class AuthorizationList(SingleOrganizationList):
    """Filters without an index search only the newest rows; a notice says how far back."""

    @property
    def authorizations_url(self) -> str:
        return f"{server_url(self.request)}/usage/authorizations"

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        if self.params.get("status", "") not in ("", AuthorizationStatus.RESERVED.value):
            for oldest in self.in_period(request, self.root_queryset).order_by("-id")[MAX_SEARCHED - 1 : MAX_SEARCHED]:
                self.notice = self.notice_of_search(MAX_SEARCHED, "authorizations", oldest.created_at)
                queryset = queryset.filter(id__gte=oldest.pk)
        return queryset


@admin.register(Authorization)
class AuthorizationAdmin(SingleOrganizationAdmin):
    resource = USAGE
    history_field = "created_at"
    read_only = True
    select_related = ("credential",)
    changelist_class = AuthorizationList
    list_display = ("requested", "status_shown", "reserved", "settled", "what_for", "requested_with", "ended")
    list_filter = (
        OrganizationFilter,
        IdPeriodFilter,
        ChoiceFilter.of("status", "status", options=AuthorizationStatus),
    )
    search_fields = ("idempotency_key",)
    search_help_text = "An authorization's id, or an idempotency key"
    ordering = ("-id",)
    empty_title = "No authorizations yet"
    empty_template = "admin/billing/authorization/empty.html"

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        try:
            return queryset.filter(pk=UUID(text))
        except ValueError:
            return queryset.filter(idempotency_key=text)

    def cards(self, request: HttpRequest, row: Authorization) -> list[Card]:
        settling = UsageEvent.objects.of(row.organization).filter(authorization_id=row.pk).order_by("id")
        file = TableFiles(request, row.organization).file("settled-by", _FILE_COLUMNS, lambda: settling)
        return [
            Card(
                amount=formatting.exact(row.amount_usd),
                text=_sentence(row, utc_now()),
                badges=self.status_shown(row),
                table=Table("Settled by", _SETTLING_EVENTS, settling[:_MAX_EVENTS], file=file),
            ),
            Card("Call", details=without_empty(_call(row)), is_half=True),
            Card("Identity", details=without_empty(_identity(row)), is_half=True),
        ]

    requested = column(Authorization, "Requested", lambda row: local_time(row.created_at))

    status_shown = column(
        Authorization, "Status", lambda row: formatting.choice_badge(status_now(row, utc_now()), _BADGES)
    )
    reserved = column(Authorization, "Reserved", lambda row: usd(row.amount_usd))

    settled = column(
        Authorization,
        "Settled at",
        lambda row: usd(row.settled_usd) if row.settled_usd is not None else formatting.NOTHING,
    )

    @admin.display(description="For")
    def what_for(self, authorization: Authorization) -> SafeString:
        second_line = (
            authorization.run_id or authorization.session_id or authorization.user_ref or authorization.service
        )
        return formatting.two_lines(authorization.model or formatting.NOTHING, second_line)

    requested_with = column(
        Authorization, "Requested with", lambda row: formatting.sender(row.credential_id, row.credential)
    )
    ended = column(Authorization, "Ended or expires", lambda row: local_time(row.ended_at or row.expires_at))


def status_now(authorization: Authorization, now: datetime) -> AuthorizationStatus:
    """Return the status; a reservation is expired as soon as its time is over, before a worker marks it."""
    status = AuthorizationStatus(authorization.status)
    is_over = status is AuthorizationStatus.RESERVED and authorization.expires_at <= now
    return AuthorizationStatus.EXPIRED if is_over else status


def _sentence(authorization: Authorization, now: datetime) -> str:
    match status_now(authorization, now):
        case AuthorizationStatus.SETTLED:
            return f"Settled by the call's event, which cost {formatting.exact(authorization.settled_usd)}."
        case AuthorizationStatus.RELEASED:
            return "Released before any event settled it. Nothing is reserved."
        case AuthorizationStatus.EXPIRED:
            return "Expired before any event settled it. Nothing is reserved."
    return f"Reserved from every limit that covers the call until {zoned_time(authorization.expires_at)}."


_FILE_COLUMNS = (
    *attributes(Kind.TEXT, "id", "event_id", "kind", "service", "model"),
    *attributes(Kind.TIME, "occurred_at"),
    *attributes(Kind.AMOUNT, "cost_usd"),
)
_SETTLING_EVENTS = (
    Column[UsageEvent](
        "Settled by the event",
        lambda event: formatting.link(event_url(event.pk), event.event_id or event.model or event.get_kind_display()),
    ),
    Column[UsageEvent]("Occurred", lambda event: local_time(event.occurred_at)),
    Column[UsageEvent](
        "Cost",
        lambda event: "Not known yet" if event.cost_usd is None else formatting.exact(event.cost_usd),
        is_number=True,
    ),
)


def _call(authorization: Authorization) -> list[tuple[str, SafeString | str]]:
    run_id = authorization.run_id
    run = formatting.link(ledger_url(authorization.organization_id, run=run_id), run_id) if run_id else ""
    return [
        ("Organization", authorization.organization.name),
        ("Service", authorization.service),
        ("Model", authorization.model),
        ("User", authorization.user_ref),
        ("Workflow", authorization.workflow_id),
        ("Run", run),
        ("Session", authorization.session_id),
        ("Tags", ", ".join(authorization.tags)),
    ]


def _identity(authorization: Authorization) -> list[tuple[str, str]]:
    return [
        ("Id", str(authorization.pk)),
        ("Idempotency key", authorization.idempotency_key),
        ("Requested with", formatting.sender(authorization.credential_id, authorization.credential)),
        ("Requested", local_time(authorization.created_at)),
        ("Expires", local_time(authorization.expires_at)),
        ("Ended", local_time(authorization.ended_at)),
    ]


def open_authorizations(organization_id: int) -> str:
    """Return the URL of the list of open authorizations."""
    return admin_url(
        "billing_authorization_changelist", organization=organization_id, status=AuthorizationStatus.RESERVED.value
    )
