"""The admin of spend limits: a list with their current status, and forms that call the services."""

from collections.abc import Callable
from typing import Any, cast

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import DropdownFilter

from billing.admin.components import formatting
from billing.admin.components.cards import Card
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.list_filters import ChoiceFilter, ConditionFilter
from billing.admin.components.model_admins import (
    OrganizationFilter,
    SingleOrganizationList,
    shown_organization,
)
from billing.admin.components.table_files import TableFiles
from billing.admin.components.tables import column
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_actions import LimitActionsAdmin
from billing.admin.limits.limit_forms import ABOUT, PLAN_TERMS, TERMS, LimitForm
from billing.admin.limits.limit_page import LimitPage
from billing.admin.limits.limit_statuses import ListedLimit, listed_limits
from billing.limits.selectors import in_force_at
from billing.limits.services import change_limit, create_limit
from billing.limits.status import percent_of
from billing.limits.types import LimitStatus
from billing.models import PAUSING, SpendLimit, ThresholdEvent
from billing.models.limits import default_thresholds
from billing.types import LimitScope, LimitUnit, LimitWindow, amount_text
from costtrack.clock import utc_now
from costtrack.file_columns import ComputedColumn, Kind
from organizations.admin_request import request_user
from organizations.models import Organization
from organizations.principals import Principal


class TimeFilter(DropdownFilter):
    title = "time"
    parameter_name = "time"
    all_option = ["", "Not removed"]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("now", "In force"), ("later", "Begins later"), ("ended", "Ended"), ("removed", "Removed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "removed":
            return queryset.exclude(removed_at=None)
        now = utc_now()
        conditions = {"now": in_force_at(now), "later": Q(starts_at__gt=now), "ended": Q(ends_at__lte=now)}
        return queryset.filter(conditions.get(self.value() or "", Q()), removed_at=None)


# The index of threshold events begins with the organization. Enforcement has updated them within the last minute.
_OPEN_THRESHOLD_EVENTS = ThresholdEvent.objects.filter(
    organization=OuterRef("organization"), limit=OuterRef("pk"), resolved_at=None
)


class LimitList(SingleOrganizationList):
    """Each row has its `listed`; all of them are read together."""

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        listed = listed_limits(organization=cast("Organization", self.organization), limits=rows, now=utc_now())
        for limit in rows:
            limit.listed = listed[limit.pk]


@admin.register(SpendLimit)
class SpendLimitAdmin(LimitActionsAdmin):
    row_names = ("limit", "limits")
    add_label = "Add limit"
    form = LimitForm
    select_related = ("organization__plan",)
    changelist_class = LimitList
    file_columns = (
        ComputedColumn("applies_to", Kind.TEXT, limit_text.whose),
        ComputedColumn("worst_value", Kind.TEXT, lambda limit: _of_status(limit, _worst_value)),
        ComputedColumn("state", Kind.TEXT, lambda limit: _of_status(limit, lambda now: now.evaluation.state.value)),
        ComputedColumn("spent_usd", Kind.AMOUNT, lambda limit: _of_status(limit, lambda now: now.evaluation.spent_usd)),
        ComputedColumn("percent", Kind.AMOUNT, lambda limit: _of_status(limit, lambda now: round(percent_of(now), 2))),
        ComputedColumn("resets_at", Kind.TIME, lambda limit: _of_status(limit, lambda now: now.evaluation.resets_at)),
        ComputedColumn("reached_at", Kind.TIME, lambda limit: _of_status(limit, lambda now: now.hit_at)),
    )
    list_display = ("limit", "state", "spent", "resets", "forecast", "when_reached")
    list_filter = (
        OrganizationFilter,
        ChoiceFilter.of("scope", "scope", options=LimitScope),
        ChoiceFilter.of("window", "window", options=LimitWindow),
        TimeFilter,
        ConditionFilter.of(
            "reached",
            "reached",
            conditions=(
                ("any", "Any threshold", Exists(_OPEN_THRESHOLD_EVENTS)),
                ("whole", "Full amount", Exists(_OPEN_THRESHOLD_EVENTS.filter(threshold=PAUSING))),
                ("none", "None", ~Exists(_OPEN_THRESHOLD_EVENTS)),
            ),
        ),
    )
    list_per_page = 25
    ordering = ("id",)
    change_heading = "Change limit"
    change_hint = (
        "Changes take effect with the next call and include what is already spent. Scope and window cannot be changed; "
        "add another limit instead."
    )
    empty_title = "No limits yet"
    empty_text = (
        "A limit caps the spend of the organization, or of each credential, user, team, tag, model, workflow, run or "
        "session. It sends warnings, and pauses access when the amount is reached."
    )

    # --- Forms -------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return (
                (None, {"fields": ABOUT}),
                (
                    "Amount",
                    {
                        "fields": (
                            "amount_usd",
                            "action",
                            "thresholds",
                            "soft_amount_usd",
                            "fallback_price",
                            "cheaper_models",
                        )
                    },
                ),
                ("Members", {"fields": ("member_list", "amount_list")}),
                ("When", {"fields": ("starts_at", "ends_at")}),
            )
        return ((None, {"fields": PLAN_TERMS if obj.is_plan else TERMS}),)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        first = {
            "organization": shown_organization(request),
            "scope": LimitScope.ORGANIZATION,
            "window": LimitWindow.ROLLING_7D,
            "thresholds": default_thresholds(),
        }
        return {**first, **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        actor, now = Principal(user=request_user(request)), utc_now()
        if change:
            changed = {*form.changed_data, *(("members", "member_amounts") if form.has_changed_members else ())}
            changes = {name: value for name, value in form.changes().items() if name in changed}
            change_limit(organization=obj.organization, limit=obj, changes=changes, actor=actor, now=now)
        else:
            obj.pk = create_limit(organization=obj.organization, limit_input=form.terms(), actor=actor, now=now).pk

    def cards(self, request: HttpRequest, row: SpendLimit) -> list[Card]:
        return self._page(request, row).cards

    def page_context(self, request: HttpRequest, row: SpendLimit) -> dict[str, Any]:
        return {"subtitle": limit_text.name(row), "is_final": not self._page(request, row).is_editable}

    def _page(self, request: HttpRequest, limit: SpendLimit) -> LimitPage:
        times, files = LocalTimes.of(limit.organization), TableFiles(request, limit.organization)
        return LimitPage(limit, self.has_manage_permission(request, limit), times, files)

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Limit")
    def limit(self, limit: SpendLimit) -> SafeString:
        second_line = limit_text.WINDOWS[LimitWindow(limit.window)]
        return formatting.two_lines(
            limit_text.whose(limit), f"{second_line}, set by the plan" if limit.is_plan else second_line
        )

    @admin.display(description="State")
    def state(self, limit: SpendLimit) -> SafeString:
        status = _status(limit)
        if status is not None:
            return limit_text.badge(status)
        return formatting.badge(limit_text.not_in_force(limit, utc_now()) or "Nothing spent")

    @admin.display(description="Spent")
    def spent(self, limit: SpendLimit) -> SafeString:
        status = _status(limit)
        if status is None:
            return formatting.strong(amount_text(limit.amount_usd, LimitUnit(limit.unit)))
        return progress_bar.labeled(status, of=status.rule.display_value if limit.is_per_value else "")

    @admin.display(description="Resets")
    def resets(self, limit: SpendLimit) -> SafeString | str:
        status = _status(limit)
        return formatting.NOTHING if status is None else limit_text.reset(status, LocalTimes.of(limit.organization))

    @admin.display(description="Forecast")
    def forecast(self, limit: SpendLimit) -> SafeString | str:
        status = _status(limit)
        return formatting.NOTHING if status is None else limit_text.forecast(status, LocalTimes.of(limit.organization))

    when_reached = column(SpendLimit, "When reached", lambda row: row.get_action_display())


def _worst_value(status: LimitStatus) -> str | None:
    """Return the value of a per-value limit that is shown: the one that is closest to the limit."""
    return status.rule.display_value if status.rule.is_per_value else None


def _of_status(limit: SpendLimit, value: Callable[[LimitStatus], object]) -> object:
    status = _status(limit)
    return None if status is None else value(status)


def _status(limit: SpendLimit) -> LimitStatus | None:
    """Return the status that `LimitList` has added to its row."""
    return cast("ListedLimit", limit.listed).status  # type: ignore[attr-defined]
