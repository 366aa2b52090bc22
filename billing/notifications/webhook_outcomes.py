"""What becomes of an attempt: of the delivery, and of an endpoint that keeps failing.

An endpoint is disabled when it says that it is gone (410), or when a message is given up after all its attempts (nearly
three days, `costtrack.mail.sending.BACKOFF`) and no other message has arrived for two days. By then a weekend is over,
and whatever is sent goes nowhere. The organization's owners and admins are told by e-mail.
"""

from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.deliver import failed, succeeded
from billing.notifications.exchange import Answer
from billing.notifications.outbox import notify
from billing.notifications.webhook_urls import display_url
from billing.notifications.webhooks import switch_off
from billing.types import DeliveryState, NoticeKind
from costtrack.tenancy import tenant_scope

DISABLED_AFTER = timedelta(days=2)
MAX_RETRY_AFTER = timedelta(hours=24)
_SYSTEM = "system"
_ASKS_TO_WAIT = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


def record_answer(delivery: Delivery, answer: Answer, *, now: datetime) -> bool:
    """Write down an answer; says whether the message has arrived."""
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        _record_arrival(delivery, answer.status, now)
        return True
    retry_after = parse_retry_after(answer.retry_after, now=now) if answer.status in _ASKS_TO_WAIT else None
    _record_failure(delivery, _told(answer), status=answer.status, retry_after=retry_after, now=now)
    return False


def record_no_answer(delivery: Delivery, error: str, *, now: datetime) -> None:
    """Write down that an attempt ended without an answer, and why."""
    _record_failure(delivery, error, status=None, retry_after=None, now=now)


def parse_retry_after(header: str, *, now: datetime) -> timedelta | None:
    """Seconds or an HTTP date (RFC 9110, 10.2.3), at most a day; None for what is neither, or lies in the past."""
    header = header.strip()
    if header.isascii() and header.isdecimal():
        wait = timedelta(seconds=min(int(header[:9]), MAX_RETRY_AFTER.total_seconds()))
    else:
        try:
            wait = parsedate_to_datetime(header) - now
        except (TypeError, ValueError):  # no date; a date without a time zone
            return None
    return min(wait, MAX_RETRY_AFTER) if wait > timedelta(0) else None


def _told(answer: Answer) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        return f"Answered {answer.status}; redirects are not followed."
    return f"Answered {answer.status}: {answer.text}" if answer.text else f"Answered {answer.status}."


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
        # Somebody waits to see what becomes of a test: one attempt shows it.
        is_over = failed(
            delivery, error=error, status=status, now=now, give_up=is_gone or is_test, retry_after=retry_after
        )
        if webhook is None or not webhook.enabled:
            return
        if webhook.failing_since is None:
            webhook.failing_since = now
            webhook.save(update_fields=["failing_since"])
        if is_gone:
            _disable(webhook, "The endpoint says that it is gone (410).", now)
        elif is_over and not is_test and now - webhook.failing_since >= DISABLED_AFTER:
            _disable(webhook, f"Nothing has arrived since {webhook.failing_since:%Y-%m-%d %H:%M} UTC. {error}", now)
        elif retry_after is not None:
            _put_off(webhook, now + retry_after)


def _put_off(webhook: WebhookEndpoint, until: datetime) -> None:
    """An endpoint that asks to wait means all that is sent to it."""
    webhook.deliveries.filter(
        organization_id=webhook.organization_id, state=DeliveryState.PENDING, next_attempt_at__lt=until
    ).update(next_attempt_at=until)


def _disable(webhook: WebhookEndpoint, reason: str, now: datetime) -> None:
    reason = reason[: WebhookEndpoint._meta.get_field("disabled_reason").max_length]  # noqa: SLF001 - Django's API
    switch_off(webhook, reason=reason, actor=_SYSTEM, now=now)
    told = {"id": webhook.pk, "url": display_url(webhook.url), "description": webhook.description}
    notify(
        organization=webhook.organization,
        kind=NoticeKind.WEBHOOK_DISABLED,
        subject=f"Webhook disabled: {webhook}",
        data={"organization": webhook.organization.slug, "webhook": told, "reason": reason},
        now=now,
    )


def _locked_webhook(delivery: Delivery) -> WebhookEndpoint | None:
    """None if it was removed meanwhile. Locked before the delivery, as by everybody."""
    webhooks = WebhookEndpoint.objects.filter(organization_id=delivery.organization_id, deliveries=delivery)
    return webhooks.select_related("organization").select_for_update(of=("self",), no_key=True).first()
