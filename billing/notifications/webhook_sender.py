"""Send webhooks: a pass sends due deliveries for a limited time.

A thread pool sends the requests, each to a different endpoint. Only the main thread uses the database, to claim and to
record results, so there is one connection and no open transaction during a request. An endpoint that has failed is not
tried again in the same pass.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.exchange import Network, NoResponseError, WebhookResponse, post
from billing.notifications.secrets import UnreadableSecretError
from billing.notifications.webhook_messages import build_message
from billing.notifications.webhook_outcomes import record_no_response, record_response
from billing.notifications.webhook_queue import claim_one_per_endpoint
from costtrack.errors import InvalidError

logger = logging.getLogger(__name__)

MAX_CONCURRENT = 16
"""Number of endpoints that are sent to at the same time."""

PASS_SECONDS = 20.0
"""No delivery is claimed after that, so that e-mails in the same queue are sent; the rest is left to the next pass."""

_POLL_SECONDS = 1.0
"""How often new deliveries are claimed while others are in progress."""

_Attempt = Future[WebhookResponse]


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
) -> WebhookResponse:
    """Make one attempt. It runs in a thread and must not use the database."""
    message = build_message(delivery, webhook, now=clock())
    return post(webhook.url, headers=message.headers, body=message.body, network=network)


def _webhook_of(delivery: Delivery) -> WebhookEndpoint:
    if delivery.webhook is None:
        raise TypeError("Only deliveries with a webhook are claimed.")
    return delivery.webhook


def _clock_from(now: datetime) -> Callable[[], datetime]:
    """Return a clock that starts at `now`."""
    started = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - started)
