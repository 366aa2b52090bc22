"""The read-only admin of the ledger's events."""

from typing import Any, cast
from uuid import UUID

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card
from billing.admin.components.datetimes import local_time
from billing.admin.components.list_filters import (
    ChoiceFilter,
    ConditionFilter,
    ExactTextFilter,
    HourFilter,
    PeriodFilter,
)
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationList
from billing.admin.components.table_files import TableFiles
from billing.admin.components.tables import column
from billing.admin.components.urls import ledger_url
from billing.admin.events.correction_actions import CorrectingAdmin
from billing.admin.events.event_page import event_cards, event_cost
from billing.admin.events.event_search import MAX_SEARCHED, events_named, searched_since
from billing.models import UnpricedEvent, UsageEvent
from billing.models.ledger import UsageEventQuerySet
from billing.types import CostSource, EventKind, Status, UnpricedReason
from costtrack.file_columns import ComputedColumn, Kind
from costtrack.money import usd
from costtrack.server_url import server_url
from organizations.permissions import USAGE


class ModelFilter(ExactTextFilter):
    """Filters by a part of the model's name, also of the name as sent."""

    def matches(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return queryset.filter(Q(model__icontains=text) | Q(sent_model__icontains=text))


class BatchFilter(ExactTextFilter):
    title = "batch id"
    parameter_name = "batch"

    def matches(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        try:
            return cast("UsageEventQuerySet", queryset).of_batch(UUID(text))
        except ValueError:
            return queryset.none()


# Short texts for the column; the tooltip has the full sentence.
_WHY = {
    UnpricedReason.NO_MODEL.value: "no model",
    UnpricedReason.NO_PRICE.value: "no price",
    UnpricedReason.NO_UNIT_PRICE.value: "no unit price",
    UnpricedReason.NO_CONDITION_PRICE.value: "no price for a condition",
    UnpricedReason.NO_USAGE.value: "no token counts",
    UnpricedReason.UNREADABLE_USAGE.value: "unreadable usage",
}
_FLAGS = (
    ("any", "Any", Q(flags__isnull=False)),
    *((code, label, Q(flags__contains=[{"code": code}])) for code, label in formatting.FLAG_LABELS.items()),
)
_WITHOUT_INDEX = ("kind", "status", "cost_source", "flag", "model")
_WITH_INDEX = ("run", "batch")


class LedgerList(SingleOrganizationList):
    """Filters without an index search only the newest events; a notice says how far back."""

    @property
    def intake_url(self) -> str:
        return f"{server_url(self.request)}/usage/events"

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        queryset = super().get_queryset(request, exclude_parameters)
        events = cast("UsageEventQuerySet", self.root_queryset)
        if self.query.strip() and self.organization is not None:
            return queryset.filter(events_named(self.organization, events, self.query.strip()))
        if self._filters_by(_WITHOUT_INDEX) and not self._filters_by(_WITH_INDEX):
            since = searched_since(cast("UsageEventQuerySet", self.in_period(request, events)))
            if since is not None:
                self.notice = self.notice_of_search(MAX_SEARCHED, "events", since)
                queryset = queryset.filter(occurred_at__gte=since)
        return queryset

    def _filters_by(self, names: tuple[str, ...]) -> bool:
        return any(self.params.get(name, "").strip() for name in names)


@admin.register(UsageEvent)
class UsageEventAdmin(CorrectingAdmin):
    resource = USAGE
    history_field = "occurred_at"
    read_only = True
    finds_through_organizations = True
    changelist_class = LedgerList
    file_columns = (ComputedColumn("cost_usd", Kind.AMOUNT, lambda row: row.cost_usd),)
    list_display = ("when", "what", "called", "cost", "tokens", "cost_from", "run")
    list_filter = (
        OrganizationFilter,
        PeriodFilter.of("occurred_at"),
        HourFilter.of("hour from, as 2026-11-02T09:00", "hour", column="occurred_at"),
        ChoiceFilter.of("kind", "kind", options=EventKind),
        ChoiceFilter.of("status", "status", options=Status),
        ChoiceFilter.of("source of the cost", "cost_source", options=CostSource),
        ConditionFilter.of("flag", "flag", conditions=_FLAGS),
        ModelFilter.of("model (part of its name)", "model", column="model"),
        ExactTextFilter.of("run id", "run", column="run_id"),
        BatchFilter,
    )
    search_fields = ("event_id",)  # `LedgerList` does the search
    search_help_text = "An event, run, session or request id"
    ordering = ("-occurred_at", "-id")
    empty_title = "No usage yet"
    empty_template = "admin/billing/usageevent/empty.html"

    def narrow(self, request: HttpRequest, queryset: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
        unpriced_events = UnpricedEvent.objects.filter(organization=OuterRef("organization"), event_id=OuterRef("pk"))
        events: QuerySet[UsageEvent] = super().narrow(request, queryset)
        return events.annotate(is_unpriced=Exists(unpriced_events))

    def cards(self, request: HttpRequest, row: UsageEvent) -> list[Card]:
        return event_cards(row, TableFiles(request, row.organization))

    def page_context(self, request: HttpRequest, row: UsageEvent) -> dict[str, Any]:
        cost = event_cost(row, TableFiles(request, row.organization))
        tables = (cost.calculation, cost.corrections)
        return {"event_cost": cost, "tables": tables, "may_price": self.has_manage_permission(request, row)}

    when = column(UsageEvent, "When", lambda row: local_time(row.occurred_at))

    @admin.display(description="Kind")
    def what(self, event: UsageEvent) -> SafeString | str:
        kind = event.get_kind_display()
        if event.status == Status.FAILURE.value:
            return format_html(
                "{} {}", kind, formatting.badge("failed", "danger", f"Status {event.status_code or '?'}")
            )
        return kind

    @admin.display(description="Model or tool")
    def called(self, event: UsageEvent) -> SafeString | str:
        name = event.model or event.tool or event.capability or event.endpoint
        return formatting.two_lines(name or formatting.NOTHING, event.service)

    run = column(
        UsageEvent, "Run", lambda row: formatting.code_link(ledger_url(row.organization_id, run=row.run_id), row.run_id)
    )

    @admin.display(description="Tokens in / out")
    def tokens(self, event: UsageEvent) -> SafeString | str:
        given = event.input_tokens + event.cache_read_tokens + event.cache_creation_tokens
        if not given and not event.output_tokens:
            return formatting.NOTHING
        return f"{formatting.count(given)} / {formatting.count(event.output_tokens)}"

    @admin.display(description="Cost")
    def cost(self, event: UsageEvent) -> SafeString | str:
        if event.cost_usd is not None:
            return usd(event.cost_usd)
        if not getattr(event, "is_unpriced", True):
            return formatting.badge("priced later", "info", "By a correction or by its session's summary")
        known = usd(event.compute_cost_usd) if event.compute_cost_usd else ""
        why = _WHY.get(event.unpriced_reason, "unknown")
        sentence = event.get_unpriced_reason_display()
        return format_html("{} {}", known, formatting.badge(f"unpriced: {why}", "warning", sentence))

    @admin.display(description="Cost source")
    def cost_from(self, event: UsageEvent) -> SafeString:
        return format_html('<span title="{}">{}</span>', event.get_cost_source_display(), event.cost_source)
