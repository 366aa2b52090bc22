"""The admin of webhooks: a list, a page with the recent deliveries, and actions. A new secret is shown only in the
response to the form that has created it."""

from datetime import timedelta
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import LocalTimes
from billing.admin.components.model_admins import (
    OrganizationFilter,
    SingleOrganizationAdmin,
    shown_organization,
)
from billing.admin.components.table_files import list_links
from billing.admin.components.tables import Column, Table
from billing.admin.components.urls import admin_url, change_url
from billing.admin.notifications.delivery_admin import ListOfHiddenRecipients, delivery_badge
from billing.models import Delivery, WebhookEndpoint
from billing.notifications.webhook_urls import check_url, display_url
from billing.notifications.webhooks import (
    SELECTABLE_KINDS,
    IssuedWebhook,
    change_webhook,
    create_webhook,
    disable_webhook,
    enable_webhook,
    remove_webhook,
    rotate_webhook,
    send_test,
)
from billing.types import NoticeKind
from costtrack.errors import DomainError
from costtrack.file_columns import ComputedColumn, FileLinks, Kind
from organizations.admin.credentials import RotationForm
from organizations.admin_actions import add_service_error, confirmed
from organizations.admin_request import request_user
from organizations.clock import zoned_time
from organizations.permissions import NOTIFICATIONS

_FIELDS = ("url", "description", "format", "kinds")
_MAX_DELIVERIES = 10


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
            "url": "Messages are sent there by POST. Private addresses are refused unless the installation allows "
            "them.",
            "description": "For your reference, for example the receiving service.",
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


def _shown_url(webhook: WebhookEndpoint) -> str:
    """Return the URL; those who may not see it, see only its host."""
    return webhook.url if getattr(webhook, "is_open", False) else display_url(webhook.url)


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(SingleOrganizationAdmin):
    resource = NOTIFICATIONS
    row_names = ("webhook", "webhooks")
    add_label = "Add webhook"
    form = WebhookForm
    changelist_class = ListOfHiddenRecipients
    file_columns = (ComputedColumn("url", Kind.TEXT, _shown_url),)
    list_display = ("goes_to", "format", "notice_kinds", "state")
    list_filter = (OrganizationFilter,)
    ordering = ("id",)
    actions_detail = ("test", "rotate", "enable", "disable", "remove")  # type: ignore[assignment]  # unfold declares an empty tuple
    change_heading = "Change webhook"
    empty_title = "No webhooks yet"
    empty_text = (
        "A webhook is a URL that is notified when a limit is near, access is paused or resumed, or an increase is "
        "requested: signed messages for programs (Standard Webhooks), or a message in a Slack channel."
    )

    def get_fields(self, request: HttpRequest, obj: WebhookEndpoint | None = None) -> tuple[str, ...]:
        return ("organization", *_FIELDS) if obj is None else _FIELDS

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"organization": shown_organization(request), **super().get_changeform_initial_data(request)}

    def save_model(self, request: HttpRequest, obj: Any, form: forms.Form, change: Any) -> None:
        given = {name: form.cleaned_data[name] for name in _FIELDS}
        if change:
            actor = request_user(request).email
            change_webhook(organization=obj.organization, webhook=obj, **given, actor=actor)
            return
        issued = create_webhook(**given, **self.audited(request, obj))
        obj.pk = issued.webhook.pk
        cast("_IssuingRequest", request).issued = issued

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._show_issued(request, cast("_IssuingRequest", request).issued)

    # --- The page ----------------------------------------------------------------------------------------------

    def cards(self, request: HttpRequest, row: WebhookEndpoint) -> list[Card]:
        is_open = self.has_manage_permission(request, row)
        files = list_links(request, row.organization, "deliveries", webhook=row.pk)
        deliveries = _deliveries(row, files, is_open=is_open)
        all_url = admin_url("billing_delivery_changelist", organization=row.organization_id, webhook=row.pk)
        return [
            Card(
                title=row.description or "Webhook",
                text="" if row.enabled else f"No messages are sent: {row.disabled_reason}",
                badges=self.state(row),
                details=without_empty(self._details(row, is_open=is_open)),
            ),
            Card("Recent deliveries", link=("All deliveries", all_url) if deliveries.rows else None, table=deliveries),
        ]

    def _details(self, webhook: WebhookEndpoint, *, is_open: bool) -> list[tuple[str, str]]:
        times, previous = LocalTimes.of(webhook.organization), webhook.previous_valid_until
        is_double = previous is not None and times.now < previous
        return [
            ("URL", webhook.url if is_open else display_url(webhook.url)),
            ("Format", webhook.get_format_display()),
            ("Notified about", self.notice_kinds(webhook)),
            ("Failing since", times.inline(webhook.failing_since)),
            ("Previous secret", f"Valid until {times.exact(previous)}" if is_double else ""),
            ("Created", times.inline(webhook.created_at)),
            ("Organization", webhook.organization.name),
        ]

    # --- Actions -----------------------------------------------------------------------------------------------

    def available_actions(self, request: HttpRequest, row: WebhookEndpoint) -> tuple[str, ...]:
        return ("test", "rotate", "disable", "remove") if row.enabled else ("rotate", "enable", "remove")

    @confirmed(
        "Send a test",
        icon="send",
        text="Sends a message of type test to this webhook only, once, without retries.",
    )
    def test(self, request: HttpRequest, webhook: WebhookEndpoint) -> HttpResponse:
        delivery = send_test(webhook=webhook, **self.audited(request, webhook))
        messages.success(request, "Test queued. This page shows the result.")
        return HttpResponseRedirect(change_url("billing_delivery", delivery.pk))

    @confirmed(
        "Rotate secret",
        icon="autorenew",
        text="The new secret is shown once, on the next page. While the current secret is valid, messages carry the "
        "signatures of both.",
        form=RotationForm,
    )
    def rotate(self, request: HttpRequest, webhook: WebhookEndpoint, *, grace_seconds: int) -> HttpResponse:
        grace = timedelta(seconds=grace_seconds)
        return self._show_issued(
            request, rotate_webhook(webhook=webhook, grace=grace, **self.audited(request, webhook))
        )

    @confirmed(
        "Enable",
        icon="play_circle",
        title="Enable webhook",
        text="The webhook receives messages from now on. Failed deliveries can be retried.",
    )
    def enable(self, request: HttpRequest, webhook: WebhookEndpoint) -> str:
        enable_webhook(organization=webhook.organization, webhook=webhook, actor=request_user(request).email)
        return f"{webhook} enabled."

    @confirmed(
        "Disable",
        icon="pause_circle",
        title="Disable webhook",
        text="The webhook receives no messages until it is enabled again. Pending deliveries are canceled.",
    )
    def disable(self, request: HttpRequest, webhook: WebhookEndpoint) -> str:
        disable_webhook(webhook=webhook, **self.audited(request, webhook))
        return f"{webhook} disabled."

    @confirmed(
        "Remove",
        icon="delete",
        title="Remove webhook",
        text="This permanently deletes the webhook and its secret. The delivery log is kept.",
        leads_to_list=True,
    )
    def remove(self, request: HttpRequest, webhook: WebhookEndpoint) -> str:
        remove_webhook(webhook=webhook, **self.audited(request, webhook))
        return "Webhook removed."

    def _show_issued(self, request: HttpRequest, issued: IssuedWebhook) -> HttpResponse:
        webhook = issued.webhook
        secret = [("Webhook", webhook.url), ("Secret (for any library of Standard Webhooks)", issued.secret)]
        if webhook.previous_valid_until is not None:
            secret.append(("The previous secret stays valid until", zoned_time(webhook.previous_valid_until)))
        return self.show_secret(request, webhook, secret)

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Webhook")
    def goes_to(self, webhook: WebhookEndpoint) -> SafeString:
        return formatting.two_lines(webhook.description or "Webhook", _shown_url(webhook))

    @admin.display(description="Notified about")
    def notice_kinds(self, webhook: WebhookEndpoint) -> str:
        return ", ".join(NoticeKind(kind).label for kind in webhook.kinds) or "Everything"

    @admin.display(description="State")
    def state(self, webhook: WebhookEndpoint) -> SafeString:
        if not webhook.enabled:
            return formatting.badge("Disabled", "danger", webhook.disabled_reason)
        if webhook.failing_since is not None:
            return formatting.badge("Failing", "warning", "The last message was not delivered; it will be retried.")
        return formatting.badge("Enabled", "success")


def _deliveries(webhook: WebhookEndpoint, files: FileLinks, *, is_open: bool) -> Table[Delivery]:
    """Return the recent deliveries. `is_open` says that the user may see errors, which may contain the full URL."""
    times = LocalTimes.of(webhook.organization)
    rows = Delivery.objects.of(webhook.organization).filter(webhook=webhook).select_related("notice").order_by("-id")
    columns = (
        Column[Delivery](
            "Notice",
            lambda row: formatting.two_lines(
                formatting.link(change_url("billing_delivery", row.pk), row.notice.subject),
                row.last_error if is_open else "",
            ),
        ),
        Column[Delivery]("State", delivery_badge),
        Column[Delivery]("When", lambda row: times.two_lines(row.created_at)),
    )
    return Table(
        "Recent deliveries",
        columns,
        rows[:_MAX_DELIVERIES],
        empty="No deliveries yet. Send a test to check that messages arrive.",
        file=files,
    )
