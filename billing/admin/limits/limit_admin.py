"""The admin of spend limits: a list with their current status, and forms that call the services."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.model_admins import OrganizationFilter, shown_organization
from billing.admin.limits import limit_text, progress_bar
from billing.admin.limits.limit_actions import LimitActionsAdmin
from billing.admin.limits.limit_forms import ABOUT, PLAN_TERMS, TERMS, LimitForm
from billing.admin.limits.limit_list import (
    LimitList,
    ReachedFilter,
    ScopeFilter,
    TimeFilter,
    WindowFilter,
    listed_limit,
)
from billing.admin.limits.limit_page import limit_page
from billing.limits.services import change_limit, create_limit
from billing.models import SpendLimit
from billing.models.limits import default_thresholds
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from organizations.admin_request import request_user
from organizations.types import Principal


@admin.register(SpendLimit)
class SpendLimitAdmin(LimitActionsAdmin):
    form = LimitForm
    list_display = ("limit", "state", "spent", "resets", "reached_at", "when_reached")
    list_filter = (OrganizationFilter, ScopeFilter, WindowFilter, TimeFilter, ReachedFilter)
    list_per_page = 25
    ordering = ("id",)
    empty_title = "No limits yet"
    empty_text = (
        "A limit caps the spend of the organization, or of each credential, user, tag, model, workflow, "
        "run or session. It sends warnings, and pauses access when the amount is reached."
    )

    def narrow(self, request: HttpRequest, queryset: QuerySet[SpendLimit]) -> QuerySet[SpendLimit]:
        return queryset.select_related("organization__plan")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return LimitList

    # --- Forms -------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return (
                (None, {"fields": ABOUT}),
                ("Amount", {"fields": ("amount_usd", "action", "thresholds", "soft_amount_usd", "fallback_price")}),
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

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**(extra_context or {}), **_single_button()})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **_single_button()})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        actor, now = Principal(user=request_user(request)), utc_now()
        if change:
            changes = {name: value for name, value in form.changes().items() if name in form.changed_data}
            change_limit(organization=obj.organization, limit=obj, changes=changes, actor=actor, now=now)
        else:
            obj.pk = create_limit(organization=obj.organization, limit_input=form.terms(), actor=actor, now=now).pk

    def response_add(self, request: HttpRequest, obj: SpendLimit, post_url_continue: str | None = None) -> HttpResponse:
        super().response_add(request, obj, post_url_continue)  # says that it was added
        return HttpResponseRedirect(formatting.change_url("billing_spendlimit", id=obj.pk))

    def response_change(self, request: HttpRequest, obj: SpendLimit) -> HttpResponse:
        super().response_change(request, obj)
        return HttpResponseRedirect(formatting.change_url("billing_spendlimit", id=obj.pk))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        limit: SpendLimit | None = context.get("original")
        if limit is not None:
            may_manage = self.has_manage_permission(request, limit)
            context["page"] = limit_page(limit, may_manage=may_manage, now=utc_now())
            context["subtitle"] = limit_text.name(limit)
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Limit")
    def limit(self, limit: SpendLimit) -> SafeString:
        second_line = limit_text.WINDOWS[LimitWindow(limit.window)]
        return formatting.two_lines(
            limit_text.whose(limit), f"{second_line}, by the plan" if limit.is_plan else second_line
        )

    @admin.display(description="State")
    def state(self, limit: SpendLimit) -> SafeString:
        status = listed_limit(limit).status
        if status is not None:
            return limit_text.badge(status)
        return formatting.badge(limit_text.not_in_force(limit, utc_now()) or "Nothing spent")

    @admin.display(description="Spent")
    def spent(self, limit: SpendLimit) -> SafeString:
        status = listed_limit(limit).status
        if status is None:
            return limit_text.amount(limit)
        return progress_bar.labelled(status, of=status.rule.display_value if limit.is_per_value else "")

    @admin.display(description="Resets")
    def resets(self, limit: SpendLimit) -> SafeString | str:
        status = listed_limit(limit).status
        if status is None:
            return formatting.NOTHING
        return limit_text.reset(status, calendar=limit.organization.calendar, now=utc_now())

    @admin.display(description="Reached at this pace")
    def reached_at(self, limit: SpendLimit) -> SafeString | str:
        status = listed_limit(limit).status
        if status is None:
            return formatting.NOTHING
        return limit_text.forecast(status, calendar=limit.organization.calendar, now=utc_now())

    @admin.display(description="When reached")
    def when_reached(self, limit: SpendLimit) -> str:
        return limit.get_action_display()


def _single_button() -> dict[str, Any]:
    """Show only the save button; saving redirects to the limit's page."""
    return {"show_save_and_continue": False, "show_save_and_add_another": False, "show_delete": False}
