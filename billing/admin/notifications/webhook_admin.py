"""The admin of webhooks. A new secret is shown only in the response to the form that has created it."""

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.form_fields import add_service_error
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationList, shown_organization
from billing.admin.notifications.webhook_actions import WebhookActionsAdmin
from billing.admin.notifications.webhook_page import badge, notice_kinds, webhook_page
from billing.models import WebhookEndpoint
from billing.notifications.webhook_urls import check_url, display_url
from billing.notifications.webhooks import SELECTABLE_KINDS, IssuedWebhook, change_webhook, create_webhook
from costtrack.clock import utc_now
from costtrack.errors import DomainError
from organizations.admin_request import request_user

_FIELDS = ("url", "description", "format", "kinds")


class WebhookForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's takes no parameter
    kinds = forms.MultipleChoiceField(
        label="Notify about",
        choices=[(kind.value, kind.label) for kind in SELECTABLE_KINDS],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
        help_text="None selected: all notices, including kinds added later.",
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("organization", *_FIELDS)
        labels = {"url": "URL"}
        help_texts = {
            "url": "Messages are sent there by POST. Addresses of private networks are refused unless the installation "
            "allows them.",
            "description": "For your reference: what receives the messages.",
            "format": "Standard Webhooks sends signed JSON to programs. Slack posts a message in a channel.",
        }
        widgets = {"url": UnfoldAdminTextInputWidget(attrs={"inputmode": "url", "placeholder": "https://"})}

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or self.cleaned_data
        if "url" in given and "url" in self.changed_data:
            try:
                check_url(given["url"])
            except DomainError as error:
                add_service_error(self, error)
        return given


class _IssuingRequest(HttpRequest):
    """A request that has issued a secret; carries it from `save_model` to `response_add`."""

    issued: IssuedWebhook


class WebhookList(SingleOrganizationList):
    """Adds to each row whether the user may see the full URL, because knowing it may be enough to post there."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(cast("QuerySet[WebhookEndpoint]", self.result_list))
        may_see = cast("WebhookEndpointAdmin", self.model_admin).may_manage_shown(request)
        for row in rows:
            row.is_open = may_see  # type: ignore[attr-defined]  # for the columns
        self.result_list = rows


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(WebhookActionsAdmin):
    form = WebhookForm
    list_display = ("goes_to", "format", "notice_kinds", "state")
    list_filter = (OrganizationFilter,)
    ordering = ("id",)
    empty_title = "No webhooks yet"
    empty_text = (
        "A webhook is a URL that is notified when a limit is near, access is paused or resumed, or an increase is "
        "requested: signed messages for programs (Standard Webhooks), or a message in a Slack channel."
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return WebhookList

    def get_fields(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> tuple[str, ...]:
        return ("organization", *_FIELDS) if obj is None else _FIELDS

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"organization": shown_organization(request), **super().get_changeform_initial_data(request)}

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show only the save button; the next page shows the secret."""
        return super().add_view(request, form_url, {**(extra_context or {}), **_single_button()})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **_single_button()})

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        given = {name: form.cleaned_data[name] for name in _FIELDS}
        actor = request_user(request).email
        if change:
            change_webhook(organization=obj.organization, webhook=obj, **given, actor=actor)
            return
        issued = create_webhook(organization=obj.organization, **given, actor=actor, now=utc_now())
        obj.pk = issued.webhook.pk
        cast("_IssuingRequest", request).issued = issued

    def response_add(
        self, request: HttpRequest, obj: WebhookEndpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self.show_secret(request, cast("_IssuingRequest", request).issued)

    def response_change(self, request: HttpRequest, obj: WebhookEndpoint) -> HttpResponse:
        super().response_change(request, obj)  # says that it was changed
        return HttpResponseRedirect(formatting.change_url("billing_webhookendpoint", id=obj.pk))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        webhook: WebhookEndpoint | None = context.get("original")
        if webhook is not None:
            is_open = self.has_manage_permission(request, webhook)
            context["page"] = webhook_page(webhook, is_open=is_open, now=utc_now())
        return super().render_change_form(request, context, *args, **kwargs)

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Webhook")
    def goes_to(self, webhook: WebhookEndpoint) -> SafeString:
        url = webhook.url if getattr(webhook, "is_open", False) else display_url(webhook.url)
        return formatting.two_lines(webhook.description or "Webhook", url)

    @admin.display(description="Notified about")
    def notice_kinds(self, webhook: WebhookEndpoint) -> str:
        return notice_kinds(webhook)

    @admin.display(description="State")
    def state(self, webhook: WebhookEndpoint) -> SafeString:
        return badge(webhook)


def _single_button() -> dict[str, Any]:
    return {"show_save_and_continue": False, "show_save_and_add_another": False, "show_delete": False}
