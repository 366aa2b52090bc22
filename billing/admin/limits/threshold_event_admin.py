"""The read-only admin of threshold events: each time that spend has reached a threshold of a limit."""

from datetime import datetime
from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter

from billing.admin.components import datetimes, formatting
from billing.admin.components.list_filters import NumberFilter, PeriodFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, SingleOrganizationList
from billing.admin.limits import limit_text
from billing.limits.scope_values import display_values
from billing.models import PAUSING, ThresholdEvent
from costtrack.clock import utc_now
from costtrack.money import usd


class CrossingPeriodFilter(PeriodFilter):
    column = "crossed_at"


class LimitFilter(NumberFilter):
    """Filters by a limit; the limit's page links here."""

    title = "limit id"
    parameter_name = "limit"
    column = "limit"


class ThresholdFilter(DropdownFilter):
    title = "threshold"
    parameter_name = "threshold"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("whole", "Full amount"), ("warning", "Warning threshold"), ("soft", "Soft amount")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "whole":
                return queryset.filter(threshold=PAUSING)
            case "warning":
                return queryset.filter(threshold__gt=0, threshold__lt=PAUSING)
            case "soft":
                return queryset.filter(threshold=0)
        return queryset


class OpenFilter(DropdownFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Still above"), ("resolved", "Below again")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("open", "resolved"):
            return queryset.filter(resolved_at__isnull=self.value() == "open")
        return queryset


class CrossingList(SingleOrganizationList):
    """Adds the organization and the display values of limits to its rows."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.organization is None:
            return
        rows = list(cast("QuerySet[ThresholdEvent]", self.result_list))
        shown = display_values(self.organization, [(row.limit.scope, row.value) for row in rows])
        for row in rows:
            row.organization = self.organization
            row.display_value = shown[row.limit.scope, row.value]  # type: ignore[attr-defined]  # for the columns
        self.result_list = rows


@admin.register(ThresholdEvent)
class ThresholdEventAdmin(SingleOrganizationAdmin):
    read_only = True
    list_display = ("crossed", "of_limit", "what", "spent", "state", "resolved")
    list_filter = (OrganizationFilter, CrossingPeriodFilter, ThresholdFilter, OpenFilter, LimitFilter)
    ordering = ("-crossed_at", "-id")
    fields = ()
    empty_title = "No thresholds reached yet"
    empty_text = (
        "When spend reaches a threshold of a limit, it is listed here once, and owners and admins are notified by "
        "e-mail and webhook."
    )

    def narrow(self, request: HttpRequest, queryset: QuerySet[ThresholdEvent]) -> QuerySet[ThresholdEvent]:
        return queryset.select_related("limit")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return CrossingList

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        crossing: ThresholdEvent = context["original"]
        shown = display_values(crossing.organization, [(crossing.limit.scope, crossing.value)])
        crossing.display_value = shown[crossing.limit.scope, crossing.value]  # type: ignore[attr-defined]
        calendar, now = crossing.organization.calendar, utc_now()

        def described(instant: datetime | None) -> str:
            return "" if instant is None else datetimes.inline(instant, calendar=calendar, now=now)

        context["details"] = formatting.without_empty(
            (
                ("Limit", self.of_limit(crossing)),
                ("Reached", limit_text.threshold(crossing)),
                ("When", described(crossing.crossed_at)),
                ("Spent at that time", formatting.exact(crossing.spent_usd)),
                ("Amount at that time", formatting.exact(crossing.amount_usd)),
                ("State", self.state(crossing)),
                ("Below again", described(crossing.resolved_at)),
                ("Expected below again", described(crossing.resets_at) if crossing.resolved_at is None else ""),
                ("Times in this window", formatting.count(crossing.times) if crossing.times > 1 else ""),
                ("Organization", crossing.organization.name),
            )
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="Reached")
    def crossed(self, crossing: ThresholdEvent) -> SafeString:
        return datetimes.two_lines(crossing.crossed_at, calendar=crossing.organization.calendar, now=utc_now())

    @admin.display(description="Limit")
    def of_limit(self, crossing: ThresholdEvent) -> SafeString:
        name = limit_text.name(crossing.limit, getattr(crossing, "display_value", ""))
        return formatting.link(formatting.change_url("billing_spendlimit", id=crossing.limit_id), name)

    @admin.display(description="Threshold")
    def what(self, crossing: ThresholdEvent) -> str:
        return limit_text.threshold(crossing)

    @admin.display(description="Spent")
    def spent(self, crossing: ThresholdEvent) -> SafeString:
        return formatting.two_lines(usd(crossing.spent_usd), f"of {usd(crossing.amount_usd)}")

    @admin.display(description="State")
    def state(self, crossing: ThresholdEvent) -> SafeString:
        if crossing.resolved_at is not None:
            return formatting.badge("over" if limit_text.is_manual_pause(crossing) else "below again", "success")
        return formatting.badge(
            limit_text.open_state(crossing), "danger" if crossing.threshold == PAUSING else "warning"
        )

    @admin.display(description="Below again")
    def resolved(self, crossing: ThresholdEvent) -> SafeString | str:
        if crossing.resolved_at is None:
            return formatting.NOTHING
        return datetimes.two_lines(crossing.resolved_at, calendar=crossing.organization.calendar, now=utc_now())
