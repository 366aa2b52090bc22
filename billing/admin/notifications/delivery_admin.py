"""The admin of deliveries: each message, its recipient and result, and a button to send it again."""

import json
from typing import Any, cast

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Card, without_empty
from billing.admin.components.datetimes import LocalTimes, relative
from billing.admin.components.list_filters import ChoiceFilter, NumberFilter
from billing.admin.components.model_admins import OrganizationFilter, SingleOrganizationAdmin, SingleOrganizationList
from billing.admin.components.tables import column
from billing.admin.components.urls import change_url
from billing.models import Delivery
from billing.notifications.deliveries import resend, shown_recipient
from billing.notifications.emails import render
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack.clock import iso, utc_now
from costtrack.file_columns import ComputedColumn, Kind
from organizations.admin_actions import confirmed
from organizations.permissions import NOTIFICATIONS

_BADGES = {DeliveryState.PENDING: "info", DeliveryState.SENT: "success", DeliveryState.FAILED: "danger"}


def delivery_badge(delivery: Delivery) -> SafeString:
    return formatting.choice_badge(DeliveryState(delivery.state), _BADGES)


class ListOfHiddenRecipients(SingleOrganizationList):
    """Adds to each row whether the user may see the recipient, because knowing a URL may be enough to post there."""

    def complete(self, request: HttpRequest, rows: list[Any]) -> None:
        may_see = cast("SingleOrganizationAdmin", self.model_admin).may_manage_shown(request)
        for row in rows:
            row.is_open = may_see


@admin.register(Delivery)
class DeliveryAdmin(SingleOrganizationAdmin):
    resource = NOTIFICATIONS
    read_only = True
    select_related = ("notice",)
    changelist_class = ListOfHiddenRecipients
    file_columns = (
        ComputedColumn("notice", Kind.TEXT, lambda row: row.notice.subject),
        ComputedColumn("kind", Kind.TEXT, lambda row: row.notice.kind),
        ComputedColumn("recipient", Kind.TEXT, lambda row: shown_recipient(row, is_open=_is_open(row))),
        ComputedColumn("last_error", Kind.TEXT, lambda row: row.last_error if _is_open(row) else None),
    )
    list_display = ("message", "to", "state_shown", "tries", "next_try", "last_error_shown")
    list_filter = (
        OrganizationFilter,
        ChoiceFilter.of("state", "state", options=DeliveryState),
        ChoiceFilter.of("channel", "channel", options=Channel),
        ChoiceFilter.of("notice", "kind", options=NoticeKind, column="notice__kind"),
        NumberFilter.of("webhook id", "webhook", column="webhook"),  # the webhook's page links here
    )
    ordering = ("-id",)
    actions_detail = ("send_again",)  # type: ignore[assignment]  # unfold declares an empty tuple
    empty_title = "No deliveries yet"
    empty_text = (
        "When a limit is near or access is paused, owners and admins get an email and webhooks get a message. Each "
        "delivery is listed here with its result."
    )

    def cards(self, request: HttpRequest, row: Delivery) -> list[Card]:
        is_open = self.has_manage_permission(request, row)
        body = {"type": row.notice.kind, "timestamp": iso(row.notice.created_at), "data": row.notice.data}
        return [
            Card(row.notice.subject, badges=delivery_badge(row), details=without_empty(_details(row, is_open=is_open))),
            Card("Webhook payload", code=json.dumps(body, indent=2, ensure_ascii=False)),
        ]

    def page_context(self, request: HttpRequest, row: Delivery) -> dict[str, Any]:
        if row.channel != Channel.EMAIL.value:
            return {}
        text, html = render(notice=row.notice, organization=row.organization)
        return {"text": text, "html": html}

    @confirmed("Send again", icon="replay")
    def send_again(self, request: HttpRequest, delivery: Delivery) -> str:
        resend(delivery=delivery, **self.audited(request, delivery))
        return "Delivery queued again."

    def confirmation_context(self, request: HttpRequest, row: Delivery, name: str) -> dict[str, Any]:
        text = "It is sent immediately, with the same number of attempts as before."
        if row.channel == Channel.WEBHOOK.value:
            text += " It keeps its message id, so that the receiver can recognize a repeated message."
        return {"subject": row.notice.subject, "summary": [f"To {row.recipient}"], "text": text}

    # --- Columns -----------------------------------------------------------------------------------------------

    @admin.display(description="Notice")
    def message(self, delivery: Delivery) -> SafeString:
        when = LocalTimes.of(delivery.organization).recorded(delivery.created_at)
        return formatting.two_lines(delivery.notice.subject, when)

    @admin.display(description="To")
    def to(self, delivery: Delivery) -> SafeString:
        return formatting.two_lines(
            shown_recipient(delivery, is_open=_is_open(delivery)), delivery.get_channel_display()
        )

    state_shown = column(Delivery, "State", delivery_badge)
    tries = column(Delivery, "Attempts", lambda row: formatting.count_or_nothing(row.attempts))

    @admin.display(description="Next attempt")
    def next_try(self, delivery: Delivery) -> str:
        is_pending = delivery.state == DeliveryState.PENDING.value
        return relative(delivery.next_attempt_at, utc_now()) if is_pending else formatting.NOTHING

    @admin.display(description="Last error")
    def last_error_shown(self, delivery: Delivery) -> SafeString | str:
        if not delivery.last_error or not _is_open(delivery):
            return formatting.NOTHING
        return format_html('<span class="ct-cut" title="{0}">{0}</span>', delivery.last_error)


def _is_open(delivery: Delivery) -> bool:
    """Whether `DeliveryList` allows the user to see the recipient."""
    return bool(getattr(delivery, "is_open", False))


def _details(delivery: Delivery, *, is_open: bool) -> list[tuple[str, SafeString | str]]:
    times = LocalTimes.of(delivery.organization)
    is_pending = delivery.state == DeliveryState.PENDING.value
    webhook = delivery.webhook_id and change_url("billing_webhookendpoint", delivery.webhook_id)
    return [
        ("To", shown_recipient(delivery, is_open=is_open)),
        ("Channel", delivery.get_channel_display()),
        ("Webhook", formatting.link(webhook, "View webhook") if webhook else ""),
        ("Notice", delivery.notice.get_kind_display()),
        ("Created", times.inline(delivery.created_at)),
        ("Attempts", formatting.count_or_nothing(delivery.attempts)),
        ("Next attempt", times.inline(delivery.next_attempt_at) if is_pending else ""),
        ("Finished", times.inline(delivery.finished_at)),
        ("Last status", str(delivery.last_status or "")),
        ("Last error", delivery.last_error if is_open else ""),
        ("Message id", formatting.code(delivery.message_id)),
        ("Request id", formatting.code(delivery.notice.request_id) if delivery.notice.request_id else ""),
        ("Organization", delivery.organization.name),
    ]
