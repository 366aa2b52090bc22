"""Webhooks on their way. A pass sends what is due, for a bounded time.

Threads talk to the network, each to another endpoint; claims and outcomes are this thread's alone, so there is one
database connection, and no transaction is open while somebody's server makes us wait. An endpoint that has failed is
left alone for the rest of the pass.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.exchange import Answer, Network, NoAnswerError, post
from billing.notifications.secrets import UnreadableSecretError
from billing.notifications.webhook_messages import message_of
from billing.notifications.webhook_outcomes import record_answer, record_no_answer
from billing.notifications.webhook_queue import claim_one_per_endpoint
from costtrack.errors import InvalidError

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Endpoints that are talked to at the same time."""

PASS_SECONDS = 20.0
"""Nothing is claimed after that, so e-mails in the same queue get their turn; what is left waits for the next pass."""

_LOOK_EVERY_SECONDS = 1.0
"""What becomes due meanwhile does not wait for the slowest."""

_Sent = Future[Answer]


def deliver_webhooks(*, now: datetime, network: Network | None = None, seconds: float = PASS_SECONDS) -> int:
    """Send what is due at `now` and what becomes due while it runs; answers how many messages have arrived."""
    return _Pass(now, network or Network(), seconds).run()


class _Pass:
    def __init__(self, now: datetime, network: Network, seconds: float) -> None:
        self._clock = _running_from(now)
        self._ends_at = now + timedelta(seconds=seconds)
        self._network = network
        self._under_way: dict[_Sent, Delivery] = {}
        self._failed: set[int] = set()
        self._arrived = 0

    def run(self) -> int:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook") as pool:
            self._claim(pool)
            while self._under_way:
                done, _ = wait(self._under_way, timeout=_LOOK_EVERY_SECONDS, return_when=FIRST_COMPLETED)
                for sent in done:
                    self._record(self._under_way.pop(sent), sent)
                self._claim(pool)
        return self._arrived

    def _claim(self, pool: ThreadPoolExecutor) -> None:
        now, free = self._clock(), AT_ONCE - len(self._under_way)
        if now >= self._ends_at or not free:
            return
        for delivery in claim_one_per_endpoint(now=now, most=free, leave_out=self._failed):
            self._under_way[pool.submit(_send, delivery, _webhook_of(delivery), self._network, self._clock)] = delivery

    def _record(self, delivery: Delivery, sent: _Sent) -> None:
        now = self._clock()
        try:
            has_arrived = record_answer(delivery, sent.result(), now=now)
        except (NoAnswerError, UnreadableSecretError, InvalidError) as error:
            record_no_answer(delivery, str(error), now=now)
            has_arrived = False
        except Exception:  # what nobody foresaw about one endpoint must not stop the others
            logger.exception("webhook attempt broke", extra={"message_id": delivery.message_id})
            record_no_answer(delivery, "It could not be sent, for a reason that our logs have.", now=now)
            has_arrived = False
        if has_arrived:
            self._arrived += 1
        else:
            self._failed.add(_webhook_of(delivery).pk)
            logger.info("webhook attempt failed", extra={"message_id": delivery.message_id})


def _send(delivery: Delivery, webhook: WebhookEndpoint, network: Network, clock: Callable[[], datetime]) -> Answer:
    """One attempt, in a thread: nothing here asks the database."""
    message = message_of(delivery, webhook, now=clock())
    return post(webhook.url, headers=message.headers, body=message.body, network=network)


def _webhook_of(delivery: Delivery) -> WebhookEndpoint:
    if delivery.webhook is None:
        raise TypeError("Only deliveries with a webhook are claimed.")
    return delivery.webhook


def _running_from(now: datetime) -> Callable[[], datetime]:
    """A clock that goes on from `now`."""
    started = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - started)
