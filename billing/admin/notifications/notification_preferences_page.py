"""The page where members choose their emails for each organization. Emails link to it."""

from collections.abc import Iterable

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldBooleanSwitchWidget

from billing.models import NotificationPreference
from billing.notifications.preferences import CATEGORY_NAMES, change_preference, preference_of
from billing.notifications.report_subscriptions import may_see_reports
from costtrack.admin_site import register_page
from costtrack.organization_paths import organization_url
from organizations.admin_request import request_user
from organizations.models import Membership

CATEGORY_LABELS = {
    "warnings": "Warnings",
    "pauses": "Pauses",
    "requests": "Increases",
    "usage": "Prices and usage",
    "webhooks": "Webhooks",
}


class PreferenceForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    """The preferences for one organization."""

    class Meta:
        model = NotificationPreference
        fields = CATEGORY_NAMES
        labels = CATEGORY_LABELS
        widgets = dict.fromkeys(CATEGORY_NAMES, UnfoldBooleanSwitchWidget)


def notification_preferences(request: HttpRequest) -> HttpResponse:
    user = request_user(request)
    memberships = (
        Membership.objects.filter(user=user)
        .accepted()
        .with_user()
        .select_related("organization")
        .order_by("organization__name", "pk")
    )
    forms_of = [(membership, _form(request, membership)) for membership in memberships]
    if request.method == "POST" and all(form.is_valid() for _, form in forms_of):
        _save(forms_of)
        messages.success(request, "Preferences saved.")
        return HttpResponseRedirect(request.get_full_path())
    context = {
        **admin.site.each_context(request),
        "title": "Email notifications",
        "forms_of": [(membership, form, _reports_url(membership)) for membership, form in forms_of],
        "email": user.email,
    }
    request.current_app = admin.site.name
    return TemplateResponse(request, "admin/billing/notification_preferences.html", context)


def _reports_url(membership: Membership) -> str:
    """Return the page of the member's reports; empty for those who see only their own usage."""
    return organization_url(membership.organization.slug, "reports") if may_see_reports(membership) else ""


def _form(request: HttpRequest, membership: Membership) -> PreferenceForm:
    return PreferenceForm(
        request.POST if request.method == "POST" else None,
        instance=preference_of(membership),
        prefix=membership.organization.slug,
    )


@transaction.atomic
def _save(forms_of: Iterable[tuple[Membership, PreferenceForm]]) -> None:
    for membership, form in forms_of:
        if form.changed_data:
            is_subscribed = {name: form.cleaned_data[name] for name in form.changed_data}
            change_preference(organization=membership.organization, membership=membership, changes=is_subscribed)


register_page("notification-preferences/", notification_preferences, name="notification_preferences")
