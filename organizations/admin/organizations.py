"""The admins of organizations and plans."""

from collections.abc import Collection
from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.validators import RegexValidator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from costtrack.clock import utc_now
from costtrack.organization_paths import organization_url, unprefixed_url
from organizations import services
from organizations.accounts.fresh_sign_in import confirm_first
from organizations.admin_actions import button, confirmed
from organizations.admin_base import OperatorAdmin, OrganizationScopedAdmin, labeled
from organizations.admin_request import request_user
from organizations.models import Organization, Plan
from organizations.permissions import ORGANIZATION
from organizations.services.organizations import SLUG, time_zones
from organizations.types import Role

_PLAN_LABELS = {
    "api_access": "API access",
    "exports": "Exports",
    "history_days": "History (days)",
    "default_weekly_limit_usd": "Default weekly limit (USD)",
    "max_weekly_limit_usd": "Max weekly limit (USD)",
    "max_monthly_limit_usd": "Max monthly limit (USD)",
}
_PLAN_NUMBERS = ("history_days", "max_weekly_limit_usd", "max_monthly_limit_usd")


@admin.register(Plan)
class PlanAdmin(OperatorAdmin):
    list_display = (
        "name",
        *(labeled(name, _PLAN_LABELS[name], boolean=True) for name in ("api_access", "exports")),
        *(labeled(name, _PLAN_LABELS[name]) for name in _PLAN_NUMBERS),
        *("requests_per_minute", "concurrency_percent"),
    )
    ordering = ("position", "code")

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        labels = {"label": _PLAN_LABELS[db_field.name]} if db_field.name in _PLAN_LABELS else {}
        return super().formfield_for_dbfield(db_field, request, **labels, **kwargs)

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
        labels: ClassVar[dict[str, str]] = {
            "week_start": "Weeks begin on",
            "ignores_user_case": "Ignore case of user ids",
            "retention_months": "Retention (months)",
            "requires_second_factor": "Require two-factor sign-in",
        }


class ClosingFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "closing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("0", "Open"), ("1", "Closing")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() is None else queryset.filter(closes_at__isnull=self.value() != "1")


_CLOSING = """\
API keys are refused from now on, except for recording usage that has happened. Members other than owners lose access, \
and pages cannot be changed.
After {days} days all data is deleted: usage, limits, prices, credentials, members and the audit log. Accounts of \
members who belong to no other organization are deleted too.
During these {days} days owners can download an archive of all data and reopen the organization."""


class ClosingForm(forms.Form):
    slug = forms.CharField(
        label="Slug of the organization",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Type the slug to confirm.",
    )


@admin.register(Organization)
class OrganizationAdmin(OrganizationScopedAdmin):
    resource = ORGANIZATION
    actions_detail = ("download_archive", "reopen", "close")
    organization_field = "id"
    select_related = ("plan",)
    added_by_operators_only = True
    form = OrganizationForm
    list_display = ("name", "slug", "plan", "time_zone", "week_start", labeled("created_at", "Created"), "show_state")
    list_filter = ("plan", ClosingFilter)
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

    @display(description="State", label={"open": "success", "closing": "warning", "being deleted": "danger"})
    def show_state(self, organization: Organization) -> str:
        if organization.closes_at is None:
            return "open"
        return "closing" if utc_now() < organization.closes_at else "being deleted"

    def response_add(
        self, request: HttpRequest, obj: Organization, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Lead to the form that invites the first owner."""
        messages.success(request, f"{obj.name} was created. Invite its owner.")
        invite = organization_url(obj.slug, "organizations_membership_add")
        return HttpResponseRedirect(f"{invite}?role={Role.OWNER.value}")

    def has_close_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Owners and operators close and reopen."""
        return obj is not None and self._role(request, obj) is Role.OWNER

    def available_actions(self, request: HttpRequest, row: Any) -> Collection[str]:
        if row.closes_at is None:
            return ("close",)
        return ("download_archive", "reopen") if utc_now() < row.closes_at else ()

    @button("Download archive", icon="download", permission="close")
    def download_archive(self, request: HttpRequest, object_id: str) -> HttpResponse:
        organization = self.get_queryset(request).get(pk=object_id)
        return HttpResponseRedirect(unprefixed_url("organization-archive", organization.slug))

    @confirmed("Close organization", icon="domain_disabled", form=ClosingForm, permission="close")
    def close(self, request: HttpRequest, organization: Organization, *, slug: str) -> str:
        services.close_organization(
            organization=organization,
            confirmation=slug.strip(),
            acting_as=self._role(request, organization) or Role.VIEWER,
            actor=request_user(request).email,
            now=utc_now(),
        )
        return "The organization is closed. You can reopen it until its data is deleted."

    @confirmed("Reopen organization", icon="domain", permission="close")
    def reopen(self, request: HttpRequest, organization: Organization) -> str:
        services.reopen_organization(
            organization=organization,
            acting_as=self._role(request, organization) or Role.VIEWER,
            actor=request_user(request).email,
            now=utc_now(),
        )
        return "The organization is open again."

    def before_action(self, request: HttpRequest, name: str) -> HttpResponse | None:
        return confirm_first(request, request_user(request)) if name == "close" else None

    def confirmation_context(self, request: HttpRequest, row: Any, name: str) -> dict[str, Any]:
        context = super().confirmation_context(request, row, name)
        if name == "reopen":
            return {**context, "summary": ["API keys and pages work again as before. Nothing was deleted."]}
        return {**context, "summary": _CLOSING.format(days=settings.CLOSING_DAYS).splitlines()}

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
