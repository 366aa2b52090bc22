"""The admins of organizations and plans."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.validators import RegexValidator
from django.db.models import Model
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from costtrack.clock import utc_now
from organizations import services
from organizations.admin_base import OperatorAdmin, OrganizationScopedAdmin
from organizations.admin_request import request_user
from organizations.models import Organization, Plan
from organizations.permissions import ORGANIZATION
from organizations.services.organizations import SLUG, time_zones
from organizations.types import Role


@admin.register(Plan)
class PlanAdmin(OperatorAdmin):
    list_display = (
        "name",
        "api_access",
        "exports",
        "history_days",
        "max_weekly_limit_usd",
        "max_monthly_limit_usd",
        "requests_per_minute",
        "concurrency_percent",
    )
    ordering = ("position", "code")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return () if obj is None else ("code",)

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        """Apply the changed plan to its organizations in the same transaction."""
        before = Plan.objects.filter(pk=obj.pk).first()
        super().save_model(request, obj, form, change)
        if before is not None:
            services.follow_changed_plan(before=before, now=utc_now(), actor=request_user(request).email)


class OrganizationForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    slug = forms.CharField(
        max_length=63,
        required=False,
        validators=[RegexValidator(SLUG, "Use lower-case letters, digits and single hyphens.")],
        widget=UnfoldAdminTextInputWidget(),
        help_text="Part of URLs. Leave empty to generate it from the name. After a change, URLs with the old one "
        "still work, until another organization takes it.",
    )
    time_zone = forms.ChoiceField(
        choices=lambda: [(name, name) for name in sorted(time_zones())],
        initial="UTC",
        widget=UnfoldAdminSelectWidget(),
        help_text="Defines the days and weeks of calendar limits and of the dashboard.",
    )

    class Meta:
        model = Organization
        fields = (
            "name",
            "slug",
            "plan",
            "time_zone",
            "week_start",
            "ignores_user_case",
            "retention_months",
            "requires_second_factor",
        )


@admin.register(Organization)
class OrganizationAdmin(OrganizationScopedAdmin):
    resource = ORGANIZATION
    organization_field = "id"
    select_related = ("plan",)
    added_by_operators_only = True
    form = OrganizationForm
    list_display = ("name", "slug", "plan", "time_zone", "week_start", "created_at")
    list_filter = ("plan",)
    search_fields = ("name", "slug")
    ordering = ("name", "id")

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        is_operator = request_user(request).is_superuser
        fields = ("name", "slug", "plan" if is_operator else "show_plan", "time_zone", "week_start")
        if obj is None:
            return fields
        changed = (*fields, "ignores_user_case", "requires_second_factor")
        return (*changed, "retention_months") if is_operator else changed

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        is_owner = self._role(request, obj) is Role.OWNER
        return ("show_plan",) if is_owner else ("slug", "show_plan", "requires_second_factor")

    @display(description="Plan")
    def show_plan(self, organization: Organization) -> str:
        """Show the name without a link to the plan's page, which is only for operators."""
        return organization.plan.name

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        data = form.cleaned_data
        values = {name: data[name] for name in ("name", "time_zone", "week_start")}
        if "plan" in data:
            values["plan"] = data["plan"].code
        if "retention_months" in data:
            values["retention_months"] = data["retention_months"]
        actor = request_user(request).email
        if change:
            now, acting_as = utc_now(), self._role(request, obj) or Role.VIEWER
            services.update_organization(organization=obj, actor=actor, now=now, **values)
            if data.get("slug"):
                services.change_slug(organization=obj, slug=data["slug"], acting_as=acting_as, actor=actor, now=now)
            if "ignores_user_case" in data:
                services.compare_users(organization=obj, ignores_case=data["ignores_user_case"], actor=actor)
            if "requires_second_factor" in data:
                services.require_second_factor(
                    organization=obj,
                    required=data["requires_second_factor"],
                    acting_as=acting_as,
                    actor=actor,
                )
        else:
            saved = services.create_organization(slug=data["slug"] or None, actor=actor, now=utc_now(), **values)
            obj.pk, obj.slug = saved.pk, saved.slug
