"""The read-only admin of threshold events: each time that spend has reached a threshold of a limit."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.list_filters import ConditionFilter, NumberFilter, PeriodFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, SingleOrganizationList
from billing.admin.components.tables import column
from billing.admin.components.urls import change_url
from billing.admin.limits import limit_text
from billing.limits.selectors import display_values
from billing.models import PAUSING, IncreaseRequest, ThresholdEvent
from billing.types import LimitUnit, amount_text
from costtrack.file_columns import ComputedColumn, Kind
from organizations.models import Organization
from organizations.permissions import LIMITS


class ListOfLimitValues(SingleOrganizationList):
    """Names the value of each row's limit."""

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        name_values(cast("Organization", self.organization), rows)


def name_values(organization: Organization, rows: Sequence[Any]) -> None:
    """Set `display_value` of rows of limits, from their `value`."""
    shown = display_values(organization, [(row.limit.scope, row.value) for row in rows])
    for row in rows:
        row.display_value = shown[row.limit.scope, row.value]


def limit_link(row: ThresholdEvent | IncreaseRequest) -> SafeString:
    """Link to the limit of a row that `name_values` has named."""
    name = limit_text.name(row.limit, getattr(row, "display_value", ""))
    return formatting.link(change_url("billing_spendlimit", row.limit_id), name)


@admin.register(ThresholdEvent)
class ThresholdEventAdmin(SingleOrganizationAdmin):
    row_names = ("alert", "alerts")
    resource = LIMITS
    read_only = True
    select_related = ("limit",)
    changelist_class = ListOfLimitValues
    file_columns = (ComputedColumn("limit", Kind.TEXT, lambda row: limit_text.name(row.limit, row.display_value)),)
    list_display = ("reached", "of_limit", "what", "spent", "state", "resolved")
    list_filter = (
        OrganizationFilter,
        PeriodFilter.of("reached_at"),
        ConditionFilter.of(
            "threshold",
            "threshold",
            conditions=(
                ("whole", "Full amount", Q(threshold=PAUSING)),
                ("warning", "Warning threshold", Q(threshold__gt=0, threshold__lt=PAUSING)),
                ("soft", "Soft amount", Q(threshold=0)),
            ),
        ),
        ConditionFilter.of(
            "state",
            "state",
            conditions=(
                ("open", "Still above", Q(resolved_at=None)),
                ("resolved", "Resolved", Q(resolved_at__isnull=False)),
            ),
        ),
        NumberFilter.of("limit id", "limit", column="limit"),  # the limit's page links here
    )
    ordering = ("-reached_at", "-id")
    empty_title = "No alerts yet"
    empty_text = (
        "When spend reaches a threshold, the event is listed here, and owners and admins are notified by email and "
        "webhook."
    )

    def cards(self, request: HttpRequest, row: ThresholdEvent) -> list[Card]:
        name_values(row.organization, [row])
        times, is_open = LocalTimes.of(row.organization), row.resolved_at is None
        details = (
            ("Limit", self.of_limit(row)),
            ("Reached", limit_text.threshold(row)),
            ("When", times.inline(row.reached_at)),
            ("Spent at that time", formatting.exact(row.spent_usd)),
            ("Amount at that time", formatting.exact(row.amount_usd)),
            ("State", self.state(row)),
            ("Resolved", times.inline(row.resolved_at)),
            ("Expected to resolve", times.inline(row.resets_at) if is_open else ""),
            ("Times reached in this window", formatting.count(row.times) if row.times > 1 else ""),
            ("Organization", row.organization.name),
        )
        return [Card("Alert", details=without_empty(details))]

    reached = column(ThresholdEvent, "Reached", lambda row: LocalTimes.of(row.organization).two_lines(row.reached_at))

    of_limit = column(ThresholdEvent, "Limit", limit_link)
    what = column(ThresholdEvent, "Threshold", limit_text.threshold)

    spent = column(
        ThresholdEvent,
        "Spent",
        lambda row: formatting.two_lines(_amount(row, row.spent_usd), f"of {_amount(row, row.amount_usd)}"),
    )

    @admin.display(description="State")
    def state(self, threshold_event: ThresholdEvent) -> SafeString:
        if threshold_event.resolved_at is not None:
            return formatting.badge("Resumed" if limit_text.is_manual_pause(threshold_event) else "Resolved", "success")
        return formatting.badge(
            limit_text.open_state(threshold_event), "danger" if threshold_event.threshold == PAUSING else "warning"
        )

    resolved = column(
        ThresholdEvent, "Resolved", lambda row: LocalTimes.of(row.organization).two_lines(row.resolved_at)
    )


def _amount(row: ThresholdEvent, amount: Decimal) -> str:
    return amount_text(amount, LimitUnit(row.limit.unit))
