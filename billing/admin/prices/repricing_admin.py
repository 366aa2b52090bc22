"""The admin of repricings: start a dry run, review it, and apply it."""

from datetime import UTC
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, shown_organization
from billing.admin.prices.repricing_page import badge, repricing_page
from billing.ledger.corrections import MAX_REASON_LENGTH
from billing.ledger.reprice import Selection
from billing.ledger.repricings import request_repricing
from billing.models import Repricing
from costtrack.clock import utc_now
from organizations.admin_base import button, show_domain_errors
from organizations.admin_request import request_user

_HELP = {
    "start": "UTC. Includes calls at or after this time.",
    "end": "UTC. Includes calls before this time.",
    "service": "As named by the calls, for example openai. Empty: any.",
    "model": "As named by the calls. Empty: any. Only calls whose cost differs are changed.",
}


class RepricingForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    class Meta:
        model = Repricing
        fields = ("organization", "start", "end", "service", "model")
        labels = {"start": "From", "end": "Until"}
        help_texts = _HELP

    def clean(self) -> dict[str, Any]:
        fields: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors and fields["start"] >= fields["end"]:
            self.add_error("end", "The end must be after the start.")
        return fields


class ApplyForm(forms.Form):
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True}),
        help_text="Stored with each event and in the audit log.",
    )


@admin.register(Repricing)
class RepricingAdmin(SingleOrganizationAdmin):
    changeable = False
    form = RepricingForm
    list_display = ("requested", "what", "period", "calls", "state_shown", "changed_calls", "difference")
    list_filter = (OrganizationFilter,)
    ordering = ("-id",)
    actions_detail = ("apply",)  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "No repricings yet"
    empty_text = (
        "When a past price is changed, calls keep their cost until their period is repriced. "
        "A dry run shows what would change."
    )

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return RepricingForm.Meta.fields if obj is None else ()

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        now = utc_now().astimezone(UTC).replace(second=0, microsecond=0)
        organization = shown_organization(request)
        period = {"start": now.replace(day=1, hour=0, minute=0), "end": now}
        return {**period, "organization": organization, **super().get_changeform_initial_data(request)}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        buttons = {"show_save_and_continue": False, "show_save_and_add_another": False}
        title = {"title": "Reprice usage"}
        return super().add_view(request, form_url, {**(extra_context or {}), **buttons, **title})

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        repricing = request_repricing(
            organization=obj.organization,
            selection=Selection(obj.start, obj.end, obj.service, obj.model),
            dry_run=True,
            reason="",
            actor=request_user(request).email,
            now=utc_now(),
        )
        obj.pk = repricing.pk

    def response_add(self, request: HttpRequest, obj: Repricing, post_url_continue: str | None = None) -> HttpResponse:
        return HttpResponseRedirect(formatting.change_url("billing_repricing", id=obj.pk))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        repricing: Repricing | None = context.get("original")
        if repricing is not None:
            context["page"] = repricing_page(repricing)
            if _can_be_applied(repricing) and self.has_manage_permission(request, repricing):
                context["apply_url"] = reverse("admin:billing_repricing_apply", args=[repricing.pk])
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Applying ----------------------------------------------------------------------------------------------

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Return no actions; the page itself has the button, below the figures."""
        return []

    @button("Apply", icon="check")
    @show_domain_errors
    def apply(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Apply a dry run as a new repricing; the dry run is unchanged."""
        dry_run: Repricing = self.get_queryset(request).get(pk=object_id)
        if not _can_be_applied(dry_run):
            messages.error(request, "There is nothing to apply.")
            return HttpResponseRedirect(formatting.change_url("billing_repricing", id=dry_run.pk))
        form = ApplyForm(request.POST or None)
        if request.method != "POST" or not form.is_valid():
            return self._confirm(request, dry_run, form)
        repricing = request_repricing(
            organization=dry_run.organization,
            selection=Selection(dry_run.start, dry_run.end, dry_run.service, dry_run.model),
            dry_run=False,
            reason=form.cleaned_data["reason"],
            actor=request_user(request).email,
            now=utc_now(),
        )
        return HttpResponseRedirect(formatting.change_url("billing_repricing", id=repricing.pk))

    def _confirm(self, request: HttpRequest, dry_run: Repricing, form: forms.Form) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Apply current prices",
            "page": repricing_page(dry_run),
            "form": form,
            "back": formatting.change_url("billing_repricing", id=dry_run.pk),
        }
        return TemplateResponse(request, "admin/billing/repricing/apply.html", context)

    # --- Columns -----------------------------------------------------------------------------------------------

    def narrow(self, request: HttpRequest, queryset: QuerySet[Repricing]) -> QuerySet[Repricing]:
        return queryset.select_related("organization")

    @admin.display(description="Requested (UTC)")
    def requested(self, repricing: Repricing) -> SafeString:
        return formatting.two_lines(formatting.instant(repricing.created_at), repricing.actor)

    @admin.display(description="What")
    def what(self, repricing: Repricing) -> str:
        return "Dry run" if repricing.dry_run else "Applied"

    @admin.display(description="From, until (UTC)")
    def period(self, repricing: Repricing) -> SafeString:
        return format_html("{}<br>{}", formatting.instant(repricing.start), formatting.instant(repricing.end))

    @admin.display(description="Calls")
    def calls(self, repricing: Repricing) -> SafeString | str:
        return formatting.two_lines(repricing.model or "All models", repricing.service)

    @admin.display(description="State")
    def state_shown(self, repricing: Repricing) -> SafeString:
        return badge(repricing)

    @admin.display(description="Changed")
    def changed_calls(self, repricing: Repricing) -> str:
        return formatting.count_or_nothing(repricing.changed)

    @admin.display(description="Difference")
    def difference(self, repricing: Repricing) -> str:
        return formatting.difference(repricing.difference_usd) if repricing.changed else formatting.NOTHING


def _can_be_applied(repricing: Repricing) -> bool:
    return repricing.dry_run and repricing.is_finished and repricing.changed > 0
