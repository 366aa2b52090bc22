"""Send webhooks: a pass sends due deliveries for a limited time, and records the results.

A thread pool sends the requests, each to a different endpoint. Only the main thread uses the database, to claim and to
record results, so there is one connection and no open transaction during a request. An endpoint that has failed is not
tried again in the same pass.

An endpoint is disabled when it responds with 410 (Gone), or when a message has failed permanently (after nearly three
days, `costtrack.mail.sending.BACKOFF`) and no other message was delivered for two days, which is longer than most
weekend outages. The organization's owners and admins are notified by email.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from http import HTTPStatus

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.deliveries import claim_one_per_endpoint, failed, is_last_attempt, succeeded
from billing.notifications.http_request import (
    HTTPResponse,
    Network,
    NoResponseError,
    parse_retry_after,
    send_request,
)
from billing.notifications.outbox import notify
from billing.notifications.webhook_messages import build_message
from billing.notifications.webhook_signatures import UnreadableSecretError
from billing.notifications.webhook_urls import display_url
from billing.notifications.webhooks import disable_locked
from billing.types import DeliveryState, NoticeKind
from costtrack.date_text import utc_text
from costtrack.errors import InvalidError
from costtrack.tenancy import tenant_scope

logger = logging.getLogger(__name__)

MAX_CONCURRENT = 16
"""Number of endpoints that are sent to at the same time."""

PASS_SECONDS = 20.0
"""No delivery is claimed after this time, so that emails in the same queue are sent. The next pass sends the rest."""

_POLL_SECONDS = 1.0
"""How often new deliveries are claimed while others are in progress."""

_Attempt = Future[HTTPResponse]


def deliver_webhooks(*, now: datetime, network: Network | None = None, seconds: float = PASS_SECONDS) -> int:
    """Send deliveries that are due or become due during the pass, and return how many were delivered."""
    return _Pass(now, network or Network(), seconds).run()


class _Pass:
    def __init__(self, now: datetime, network: Network, seconds: float) -> None:
        self._clock = _clock_from(now)
        self._ends_at = now + timedelta(seconds=seconds)
        self._network = network
        self._in_progress: dict[_Attempt, Delivery] = {}
        self._failed: set[int] = set()
        self._delivered_count = 0

    def run(self) -> int:
        with ThreadPoolExecutor(MAX_CONCURRENT, thread_name_prefix="webhook") as pool:
            self._claim(pool)
            while self._in_progress:
                done, _ = wait(self._in_progress, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for attempt in done:
                    self._record(self._in_progress.pop(attempt), attempt)
                self._claim(pool)
        return self._delivered_count

    def _claim(self, pool: ThreadPoolExecutor) -> None:
        now, free = self._clock(), MAX_CONCURRENT - len(self._in_progress)
        if now >= self._ends_at or not free:
            return
        for delivery in claim_one_per_endpoint(now=now, max_endpoints=free, exclude=self._failed):
            self._in_progress[pool.submit(_send, delivery, _webhook_of(delivery), self._network, self._clock)] = (
                delivery
            )

    def _record(self, delivery: Delivery, attempt: _Attempt) -> None:
        now = self._clock()
        try:
            is_delivered = record_response(delivery, attempt.result(), now=now)
        except (NoResponseError, UnreadableSecretError, InvalidError) as error:
            record_no_response(delivery, str(error), now=now)
            is_delivered = False
        except Exception:  # an unexpected error of one endpoint must not stop the others
            logger.exception("webhook attempt broke", extra={"message_id": delivery.message_id})
            record_no_response(delivery, "Internal error; see the server's log.", now=now)
            is_delivered = False
        if is_delivered:
            self._delivered_count += 1
        else:
            self._failed.add(_webhook_of(delivery).pk)
            logger.info("webhook attempt failed", extra={"message_id": delivery.message_id})


def _send(
    delivery: Delivery, webhook: WebhookEndpoint, network: Network, clock: Callable[[], datetime]
) -> HTTPResponse:
    """Make one attempt. It runs in a thread and must not use the database."""
    message = build_message(delivery, webhook, now=clock())
    return send_request("POST", webhook.url, headers=message.headers, body=message.body, network=network)


def _webhook_of(delivery: Delivery) -> WebhookEndpoint:
    if delivery.webhook is None:
        raise TypeError("Only deliveries with a webhook are claimed.")
    return delivery.webhook


def _clock_from(now: datetime) -> Callable[[], datetime]:
    """Return a clock that starts at `now`."""
    started = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - started)


DISABLED_AFTER = timedelta(days=2)
_SYSTEM = "system"
_RETRY_AFTER_STATUSES = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


def record_response(delivery: Delivery, response: HTTPResponse, *, now: datetime) -> bool:
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


def _describe(response: HTTPResponse) -> str:
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
        if is_gone or is_last_attempt(delivery):
            _lock_enabled_webhooks(delivery.organization_id)
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
            _disable(webhook, f"No message was delivered since {utc_text(webhook.failing_since)}. {error}", now)
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


def _lock_enabled_webhooks(organization_id: int) -> None:
    """Lock the endpoints that the notice about a disabled one is sent to, in the same order as `notify`. A transaction
    that held only its own endpoint would deadlock with a notice, or with another endpoint that is being disabled."""
    enabled = WebhookEndpoint.objects.filter(organization_id=organization_id, enabled=True).order_by("pk")
    list(enabled.select_for_update(no_key=True).values_list("pk", flat=True))


def _locked_webhook(delivery: Delivery) -> WebhookEndpoint | None:
    """Lock the endpoint, or return None if it was removed. It is always locked before the delivery."""
    webhooks = WebhookEndpoint.objects.filter(organization_id=delivery.organization_id, deliveries=delivery)
    return webhooks.select_related("organization").select_for_update(of=("self",), no_key=True).first()
