"""What people do with a webhook: try it out, give it a new secret, disable and enable it, remove it."""

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
from organizations.admin_base import button, showing_refusals
from organizations.admin_request import person_of


class WebhookActionsAdmin(SingleOrganizationAdmin):
    """The webhooks' page with its buttons."""

    actions_detail = ("test", "rotate", "enable", "disable", "remove")  # type: ignore[assignment]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Those that make sense now."""
        webhook: WebhookEndpoint | None = self.get_object(request, str(object_id))
        if webhook is None:
            return []
        hidden = {"enable"} if webhook.enabled else {"test", "disable"}
        left_out = {f"billing_webhookendpoint_{name}" for name in hidden}
        return [
            action for action in super().get_actions_detail(request, object_id) if action.action_name not in left_out
        ]

    @button("Send a test", icon="send")
    @showing_refusals
    def test(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        if request.method != "POST":
            text = "A message of the kind test goes to this webhook alone, at once, and is tried once."
            return self._ask(request, webhook, "Send a test", text)
        delivery = send_test(
            organization=webhook.organization, webhook=webhook, actor=person_of(request).email, now=utc_now()
        )
        messages.success(request, "The test is on its way. This page shows what becomes of it.")
        return HttpResponseRedirect(formatting.page("billing_delivery", id=delivery.pk))

    @button("Rotate secret", icon="autorenew")
    @showing_refusals
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        form = RotationForm(request.POST or None)
        if request.method != "POST" or not form.is_valid():
            text = (
                "The new secret is shown once, on the next page. While the present one lasts, messages bear the "
                "signatures of both."
            )
            return self._ask(request, webhook, "Rotate the secret", text, form)
        issued = rotate_webhook(
            organization=webhook.organization,
            webhook=webhook,
            grace=timedelta(seconds=form.cleaned_data["grace_seconds"]),
            now=utc_now(),
            actor=person_of(request).email,
        )
        return self.show_secret(request, issued)

    @button("Enable", icon="play_circle")
    @showing_refusals
    def enable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        if request.method != "POST":
            text = "It is told of what happens from now on. Failed deliveries can be retried."
            return self._ask(request, webhook, "Enable the webhook", text)
        enable_webhook(organization=webhook.organization, webhook=webhook, actor=person_of(request).email)
        messages.success(request, f"{webhook} is enabled.")
        return HttpResponseRedirect(formatting.page("billing_webhookendpoint", id=webhook.pk))

    @button("Disable", icon="pause_circle")
    @showing_refusals
    def disable(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        if request.method != "POST":
            text = "It is told nothing until it is enabled again. What still waits for it is given up."
            return self._ask(request, webhook, "Disable the webhook", text)
        disable_webhook(
            organization=webhook.organization, webhook=webhook, actor=person_of(request).email, now=utc_now()
        )
        messages.success(request, f"{webhook} is disabled.")
        return HttpResponseRedirect(formatting.page("billing_webhookendpoint", id=webhook.pk))

    @button("Remove", icon="delete")
    @showing_refusals
    def remove(self, request: HttpRequest, object_id: str) -> HttpResponse:
        webhook = self._webhook(request, object_id)
        if request.method != "POST":
            text = "This permanently deletes the webhook and its secret. The log of what was sent to it stays."
            return self._ask(request, webhook, "Remove the webhook", text)
        organization = webhook.organization
        remove_webhook(organization=organization, webhook=webhook, actor=person_of(request).email, now=utc_now())
        messages.success(request, "The webhook is removed.")
        changelist = reverse("admin:billing_webhookendpoint_changelist")
        return HttpResponseRedirect(f"{changelist}?organization={organization.pk}")

    def _webhook(self, request: HttpRequest, object_id: str) -> WebhookEndpoint:
        """The permission check before has found the row, in the person's own organizations."""
        webhook: WebhookEndpoint = self.get_queryset(request).select_related("organization").get(pk=object_id)
        return webhook

    def _ask(
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
