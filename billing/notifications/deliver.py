"""Deliveries on their way: claimed by a worker, tried, and tried again later. E-mails and webhooks share this.

A worker claims a few deliveries in a transaction of their own, sends each one, and writes down what became of it right
after that:

    for delivery in claim(channel=Channel.EMAIL, now=now, most=20):
        ...                              # send it, then one of
        succeeded(delivery, status=250, now=now)
        failed(delivery, error="Mailbox full", status=452, now=now)
        give_back([delivery], until=now)     # not tried after all

No lock is held while something is sent. A claim ends by itself, so what a killed worker had claimed is sent by another;
and because it lasts longer than any task may, nobody else tries a delivery while its worker still can.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.outbox import enqueue_delivery, new_message_id
from billing.types import Channel, DeliveryState
from costtrack.errors import ConflictError, NotFoundError
from costtrack.mail.sending import BACKOFF, CLAIM, MAX_ERROR_LENGTH, retry_delay_after
from organizations import audit
from organizations.models import Organization

logger = logging.getLogger(__name__)


def claim(*, channel: Channel, now: datetime, most: int) -> list[Delivery]:
    """Take up to `most` due deliveries of a channel for this worker, those that wait longest first. Each comes with
    its notice, organization and webhook."""
    with transaction.atomic():
        due = _due(channel, now).select_related("organization", "notice", "webhook").order_by("next_attempt_at", "pk")
        claimed = list(due.select_for_update(of=("self",), skip_locked=True)[:most])
        for delivery in claimed:
            if delivery.claimed_until is not None:
                logger.warning("delivery taken over from a lost worker", extra={"message_id": delivery.message_id})
            delivery.claimed_until = now + CLAIM
        Delivery.objects.filter(pk__in=[delivery.pk for delivery in claimed]).update(claimed_until=now + CLAIM)
    return claimed


def is_due(*, channel: Channel, now: datetime) -> bool:
    """Whether there is anything to claim."""
    return _due(channel, now).exists()


def succeeded(delivery: Delivery, *, status: int | None, now: datetime) -> None:
    """The recipient has it. That stays true even if the claim has run out meanwhile."""
    Delivery.objects.filter(pk=delivery.pk).exclude(state=DeliveryState.SENT).update(
        state=DeliveryState.SENT,
        attempts=delivery.attempts + 1,
        claimed_until=None,
        finished_at=now,
        last_status=status,
        last_error="",
    )


def failed(
    delivery: Delivery,
    *,
    error: str,
    status: int | None,
    now: datetime,
    give_up: bool = False,
    retry_after: timedelta | None = None,
) -> bool:
    """The attempt has failed: try again after a while, or give up; answers whether it was given up.

    `status` is the HTTP or SMTP status, None without an answer. `retry_after` is how long the recipient asks to wait;
    it can lengthen the wait, up to a day. Says nothing of a delivery whose claim has run out: it is another's now.
    """
    attempts = delivery.attempts + 1
    changes: dict[str, Any] = {"attempts": attempts, "last_status": status, "last_error": error[:MAX_ERROR_LENGTH]}
    is_over = give_up or attempts > len(BACKOFF)
    if is_over:
        changes |= {"state": DeliveryState.FAILED, "finished_at": now}
        logger.warning("delivery given up", extra={"message_id": delivery.message_id, "status": status})
    else:
        changes["next_attempt_at"] = now + retry_delay_after(attempts, retry_after)
    _claimed(delivery).update(claimed_until=None, **changes)
    return is_over


def release_claim(deliveries: Iterable[Delivery], *, until: datetime, error: str | None = None) -> None:
    """End the claims of deliveries that were not tried; they are due again at `until`. This is no failed attempt."""
    changes = {} if error is None else {"last_status": None, "last_error": error[:MAX_ERROR_LENGTH]}
    for delivery in deliveries:
        _claimed(delivery).update(claimed_until=None, next_attempt_at=until, **changes)


def put_off(*, channel: Channel, now: datetime, until: datetime, error: str) -> None:
    """Nothing of the channel can be sent: all that is due and unclaimed waits until then. No attempt has failed."""
    with transaction.atomic():
        due = _due(channel, now).select_for_update(skip_locked=True).values_list("pk", flat=True)
        Delivery.objects.filter(pk__in=list(due)).update(
            claimed_until=None, next_attempt_at=until, last_status=None, last_error=error[:MAX_ERROR_LENGTH]
        )


@transaction.atomic
def resend(*, organization: Organization, delivery: Delivery, now: datetime, actor: str) -> Delivery:
    """Send again: what was given up or sent, or now what waits. The attempts are counted anew.

    It keeps its message id, by which a program that has handled the message already can tell the repetition. Only a
    sent e-mail gets a new one: whoever asks for it again wants to see it, and mail programs hide a second copy.

    Raises NotFoundError if it is another organization's, ConflictError if its webhook is gone or disabled.
    """
    locked = Delivery.objects.of(organization).select_for_update().filter(pk=delivery.pk).first()
    if locked is None:
        raise NotFoundError("No such delivery.")
    if locked.channel == Channel.WEBHOOK:
        locked.recipient = _enabled_webhook(locked).url
    if locked.channel == Channel.EMAIL and locked.state == DeliveryState.SENT:
        locked.message_id = new_message_id(locked.notice_id, Channel.EMAIL)
    was = locked.state
    locked.state, locked.attempts, locked.next_attempt_at, locked.finished_at = DeliveryState.PENDING, 0, now, None
    locked.save(update_fields=["recipient", "message_id", "state", "attempts", "next_attempt_at", "finished_at"])
    subject = f"delivery {locked.pk}"  # a URL may be a secret, and is too long
    audit.record(
        organization=organization, actor=actor, action="delivery.resent", subject=subject, was=was,
        message_id=locked.message_id,
    )  # fmt: skip
    enqueue_delivery(Channel(locked.channel))
    return locked


def _enabled_webhook(delivery: Delivery) -> WebhookEndpoint:
    if delivery.webhook is None:
        raise ConflictError("The webhook is gone, so nothing can be sent to it.")
    if not delivery.webhook.enabled:
        raise ConflictError("The webhook is disabled; enable it first.", code="webhook_disabled")
    return delivery.webhook


def _due(channel: Channel, now: datetime) -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        Q(claimed_until=None) | Q(claimed_until__lte=now),
        state=DeliveryState.PENDING,
        channel=channel,
        next_attempt_at__lte=now,
    )


def _claimed(delivery: Delivery) -> QuerySet[Delivery]:
    """The row, if it still has the claim that the worker was given."""
    return Delivery.objects.filter(pk=delivery.pk, state=DeliveryState.PENDING, claimed_until=delivery.claimed_until)
