"""The content of a webhook's page: its details, its state, and its recent deliveries."""

from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from billing.admin.components import datetimes, formatting
from billing.admin.components.formatting import Detail
from billing.admin.notifications.delivery_admin import delivery_badge
from billing.models import Delivery, WebhookEndpoint
from billing.notifications.webhook_urls import display_url
from billing.types import NoticeKind

_MAX_DELIVERIES = 10


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    url: str
    subject: str
    badge: SafeString
    when: SafeString
    last_error: str


@dataclass(frozen=True, slots=True)
class WebhookPage:
    name: str
    badge: SafeString
    disabled_reason: str
    details: list[Detail]
    deliveries: tuple[DeliveryRow, ...]
    deliveries_url: str


def webhook_page(webhook: WebhookEndpoint, *, is_open: bool, now: datetime) -> WebhookPage:
    """Return the page. `is_open` says that the user may see the full URL, and errors that may contain it."""
    query = urlencode({"organization": webhook.organization_id, "webhook": webhook.pk})
    return WebhookPage(
        name=webhook.description or "Webhook",
        badge=badge(webhook),
        disabled_reason="" if webhook.enabled else webhook.disabled_reason,
        details=formatting.without_empty(_details(webhook, is_open=is_open, now=now)),
        deliveries=tuple(_deliveries(webhook, is_open=is_open, now=now)),
        deliveries_url=f"{reverse('admin:billing_delivery_changelist')}?{query}",
    )


def badge(webhook: WebhookEndpoint) -> SafeString:
    if not webhook.enabled:
        return formatting.badge("Disabled", "danger", webhook.disabled_reason)
    if webhook.failing_since is not None:
        return formatting.badge("Failing", "warning", "The last message was not delivered; it will be retried.")
    return formatting.badge("Enabled", "success")


def notice_kinds(webhook: WebhookEndpoint) -> str:
    return ", ".join(NoticeKind(kind).label for kind in webhook.kinds) or "Everything"


def _details(webhook: WebhookEndpoint, *, is_open: bool, now: datetime) -> list[tuple[str, str]]:
    calendar = webhook.organization.calendar
    failing, previous = webhook.failing_since, webhook.previous_valid_until
    is_double = previous is not None and now < previous
    return [
        ("URL", webhook.url if is_open else display_url(webhook.url)),
        ("Format", webhook.get_format_display()),
        ("Notified about", notice_kinds(webhook)),
        ("Failing since", datetimes.inline(failing, calendar=calendar, now=now) if failing is not None else ""),
        ("Previous secret", f"Valid until {datetimes.exact(previous, calendar)}" if previous and is_double else ""),
        ("Created", datetimes.inline(webhook.created_at, calendar=calendar, now=now)),
        ("Organization", webhook.organization.name),
    ]


def _deliveries(webhook: WebhookEndpoint, *, is_open: bool, now: datetime) -> list[DeliveryRow]:
    calendar = webhook.organization.calendar
    rows = Delivery.objects.of(webhook.organization).filter(webhook=webhook).select_related("notice").order_by("-id")
    return [
        DeliveryRow(
            formatting.change_url("billing_delivery", id=row.pk),
            row.notice.subject,
            delivery_badge(row),
            datetimes.two_lines(row.created_at, calendar=calendar, now=now),
            row.last_error if is_open else "",
        )
        for row in rows[:_MAX_DELIVERIES]
    ]
