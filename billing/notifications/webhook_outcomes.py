"""Record the result of an attempt for the delivery and its endpoint, and disable endpoints that keep failing.

An endpoint is disabled when it responds with 410 (Gone), or when a message has failed permanently (after nearly three
days, `costtrack.mail.sending.BACKOFF`) and no other message was delivered for two days, which is longer than most
weekend outages. The organization's owners and admins are notified by e-mail.
"""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.deliver import failed, succeeded
from billing.notifications.exchange import WebhookResponse
from billing.notifications.outbox import notify
from billing.notifications.webhook_urls import display_url
from billing.notifications.webhooks import disable_locked
from billing.types import DeliveryState, NoticeKind
from costtrack.tenancy import tenant_scope

DISABLED_AFTER = timedelta(days=2)
MAX_RETRY_AFTER = timedelta(hours=24)
_SYSTEM = "system"
_RETRY_AFTER_STATUSES = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


def record_response(delivery: Delivery, response: WebhookResponse, *, now: datetime) -> bool:
    """Record a response, and return whether the message was delivered."""
    if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
        _record_arrival(delivery, response.status, now)
        return True
    retry_after = parse_retry_after(response.retry_after, now=now) if response.status in _RETRY_AFTER_STATUSES else None
    _record_failure(delivery, _describe(response), status=response.status, retry_after=retry_after, now=now)
    return False


def record_no_response(delivery: Delivery, error: str, *, now: datetime) -> None:
    """Record that an attempt ended without a response, and why."""
    _record_failure(delivery, error, status=None, retry_after=None, now=now)


def parse_retry_after(header: str, *, now: datetime) -> timedelta | None:
    """Parse seconds or an HTTP date (RFC 9110, 10.2.3), at most a day; None if it is neither, or in the past."""
    header = header.strip()
    if header.isascii() and header.isdecimal():
        wait = timedelta(seconds=min(int(header[:9]), MAX_RETRY_AFTER.total_seconds()))
    else:
        try:
            wait = parsedate_to_datetime(header) - now
        except (TypeError, ValueError):  # no date; a date without a time zone
            return None
    return min(wait, MAX_RETRY_AFTER) if wait > timedelta(0) else None


def _describe(response: WebhookResponse) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
        return f"Answered {response.status}; redirects are not followed."
    return f"Answered {response.status}: {response.text}" if response.text else f"Answered {response.status}."


def _record_arrival(delivery: Delivery, status: int, now: datetime) -> None:
    with tenant_scope(delivery.organization_id):
        webhook = _locked_webhook(delivery)
        succeeded(delivery, status=status, now=now)
        if webhook is not None and webhook.failing_since is not None:
            webhook.failing_since = None
            webhook.save(update_fields=["failing_since"])


def _record_failure(
    delivery: Delivery, error: str, *, status: int | None, retry_after: timedelta | None, now: datetime
) -> None:
    is_gone, is_test = status == HTTPStatus.GONE, delivery.notice.kind == NoticeKind.TEST
    with tenant_scope(delivery.organization_id):
        webhook = _locked_webhook(delivery)
        # A test message has one attempt, because a user is waiting for its result.
        is_over = failed(
            delivery, error=error, status=status, now=now, is_permanent=is_gone or is_test, retry_after=retry_after
        )
        if webhook is None or not webhook.enabled:
            return
        if webhook.failing_since is None:
            webhook.failing_since = now
            webhook.save(update_fields=["failing_since"])
        if is_gone:
            _disable(webhook, "The endpoint responded with 410 (Gone).", now)
        elif is_over and not is_test and now - webhook.failing_since >= DISABLED_AFTER:
            _disable(
                webhook, f"No message was delivered since {webhook.failing_since:%Y-%m-%d %H:%M} UTC. {error}", now
            )
        elif retry_after is not None:
            _postpone(webhook, now + retry_after)


def _postpone(webhook: WebhookEndpoint, until: datetime) -> None:
    """Postpone all pending messages of an endpoint that asks to wait."""
    webhook.deliveries.filter(
        organization_id=webhook.organization_id, state=DeliveryState.PENDING, next_attempt_at__lt=until
    ).update(next_attempt_at=until)


def _disable(webhook: WebhookEndpoint, reason: str, now: datetime) -> None:
    reason = reason[: WebhookEndpoint._meta.get_field("disabled_reason").max_length]  # noqa: SLF001 - Django's API
    disable_locked(webhook, reason=reason, actor=_SYSTEM, now=now)
    webhook_data = {"id": webhook.pk, "url": display_url(webhook.url), "description": webhook.description}
    notify(
        organization=webhook.organization,
        kind=NoticeKind.WEBHOOK_DISABLED,
        subject=f"Webhook disabled: {webhook}",
        data={"organization": webhook.organization.slug, "webhook": webhook_data, "reason": reason},
        now=now,
    )


def _locked_webhook(delivery: Delivery) -> WebhookEndpoint | None:
    """Lock the endpoint, or return None if it was removed. It is always locked before the delivery."""
    webhooks = WebhookEndpoint.objects.filter(organization_id=delivery.organization_id, deliveries=delivery)
    return webhooks.select_related("organization").select_for_update(of=("self",), no_key=True).first()
