"""Admin actions on a webhook: send a test, rotate the secret, disable, enable, and remove."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from billing.admin.components import formatting
from billing.admin.components.model_admins import SingleOrganizationAdmin
from billing.models import WebhookEndpoint
from billing.notifications.webhooks import (
    IssuedWebhook,
    disable_webhook,
    enable_webhook,
    remove_webhook,
    rotate_webhook,
    send_test,
)
from costtrack.clock import utc_now
from organizations.admin.credentials import RotationForm
from organizations.admin_base import button, show_domain_errors
from organizations.admin_request import request_user


class WebhookActionsAdmin(SingleOrganizationAdmin):
    """Adds the action buttons to the webhook page."""

    actions_detail = ("test", "rotate", "enable", "disable", "remove")  # type: ignore[assignment]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Return the actions that apply to the webhook's current state."""
        webhook: WebhookEndpoint | None = self.get_object(request, str(object_id))
        if webhook is None:
            return []
        hidden = {"enable"} if webhook.enabled else {"test", "disable"}
        left_out = {f"billing_webhookendpoint_{name}" for name in hidden}
        return [
            action for action in super().get_actions_detail(request, object_id) if action.action_name not in left_out
        ]

    @button("Send a test", icon="send")
    @show_domain_errors
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        if request.method != "POST":
            text = "Sends a message of type test to this webhook only, once, without retries."
            return self._confirm(request, webhook, "Send a test", text)
        delivery = send_test(
            organization=webhook.organization, webhook=webhook, actor=request_user(request).email, now=utc_now()
        )
        messages.success(request, "Test queued. This page shows the result.")
        return HttpResponseRedirect(formatting.change_url("billing_delivery", id=delivery.pk))

    @button("Rotate secret", icon="autorenew")
    @show_domain_errors
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        form = RotationForm(request.POST or None)
        if request.method != "POST" or not form.is_valid():
            text = (
                "The new secret is shown once, on the next page. While the current secret is valid, messages carry the "
                "signatures of both."
            )
            return self._confirm(request, webhook, "Rotate secret", text, form)
        issued = rotate_webhook(
            organization=webhook.organization,
            webhook=webhook,
            grace=timedelta(seconds=form.cleaned_data["grace_seconds"]),
            now=utc_now(),
            actor=request_user(request).email,
        )
        return self.show_secret(request, issued)

    @button("Enable", icon="play_circle")
    @show_domain_errors
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        if request.method != "POST":
            text = "The webhook receives messages from now on. Failed deliveries can be retried."
            return self._confirm(request, webhook, "Enable webhook", text)
        enable_webhook(organization=webhook.organization, webhook=webhook, actor=request_user(request).email)
        messages.success(request, f"{webhook} enabled.")
        return HttpResponseRedirect(formatting.change_url("billing_webhookendpoint", id=webhook.pk))

    @button("Disable", icon="pause_circle")
    @show_domain_errors
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        if request.method != "POST":
            text = "The webhook receives no messages until it is enabled again. Pending deliveries are canceled."
            return self._confirm(request, webhook, "Disable webhook", text)
        disable_webhook(
            organization=webhook.organization, webhook=webhook, actor=request_user(request).email, now=utc_now()
        )
        messages.success(request, f"{webhook} disabled.")
        return HttpResponseRedirect(formatting.change_url("billing_webhookendpoint", id=webhook.pk))

    @button("Remove", icon="delete")
    @show_domain_errors
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        if request.method != "POST":
            text = "This permanently deletes the webhook and its secret. The delivery log is kept."
            return self._confirm(request, webhook, "Remove webhook", text)
        organization = webhook.organization
        remove_webhook(organization=organization, webhook=webhook, actor=request_user(request).email, now=utc_now())
        messages.success(request, "Webhook removed.")
        changelist = reverse("admin:billing_webhookendpoint_changelist")
        return HttpResponseRedirect(f"{changelist}?organization={organization.pk}")

    def _webhook(self, request: HttpRequest, object_id: str) -> WebhookEndpoint:
        """Return the webhook; the permission check has verified that it is in the user's organizations."""
        webhook: WebhookEndpoint = self.get_queryset(request).select_related("organization").get(pk=object_id)
        return webhook

    def _confirm(
        self, request: HttpRequest, webhook: WebhookEndpoint, title: str, text: str, form: forms.Form | None = None
    ) -> TemplateResponse:
        return self._page(
            request, "confirm", {"title": title, "verb": title, "text": text, "webhook": webhook, "form": form or ()}
        )

    def show_secret(self, request: HttpRequest, issued: IssuedWebhook) -> TemplateResponse:
        response = self._page(request, "secret", {"title": "Copy the secret now", "issued": issued})
        response.headers["Cache-Control"] = "no-store"
        return response

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> TemplateResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/billing/webhookendpoint/{name}.html", context)
