"""Claim deliveries, record the results of attempts, and schedule retries, for emails and webhooks.

A worker claims a few deliveries in a separate transaction, sends each of them, and records the result immediately:

    for delivery in claim(channel=Channel.EMAIL, now=now, limit=20):
        ...                              # send it, then one of
        succeeded(delivery, status=250, now=now)
        failed(delivery, error="Mailbox full", status=452, now=now)
        release_claim([delivery], until=now)     # not tried after all

No lock is held while a message is sent. A claim expires, so another worker sends what a killed worker had claimed. It
lasts longer than the time limit of any task, so no delivery is tried by two workers at once.

Webhooks are claimed one at a time per endpoint (`claim_one_per_endpoint`), so that no endpoint delays another: the
oldest delivery of an endpoint goes first, and endpoints that have failed recently come after the others.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.outbox import DELIVER_TASKS, enqueue_delivery, new_message_id
from billing.notifications.webhook_urls import display_url
from billing.types import Channel, DeliveryState
from costtrack.errors import ConflictError
from costtrack.jobs import enqueue_debounced_on_commit
from costtrack.mail.sending import BACKOFF, CLAIM, MAX_ERROR_LENGTH, retry_delay_after
from organizations import audit
from organizations.failures import log_failure
from organizations.models import Organization

logger = logging.getLogger(__name__)

SWEEP = timedelta(seconds=15)
"""How often the beat schedule sends the tasks that deliver."""


def claim(*, channel: Channel, now: datetime, limit: int) -> list[Delivery]:
    """Claim up to `limit` due deliveries of a channel, each with its notice, organization and webhook.

    The longest overdue organization comes first, and in it the longest overdue delivery.
    """
    claimed: list[Delivery] = []
    for organization_id in _organizations_with_due(channel, now):
        if len(claimed) == limit:
            break
        with log_failure(organization_id, "deliveries could not be claimed"):
            claimed += _claim(organization_id, channel, now, limit - len(claimed))
    return claimed


def _mark_claimed(organization_id: int, deliveries: Sequence[Delivery], *, now: datetime) -> None:
    """Write the claim of deliveries that the caller has locked, directly or by their endpoint."""
    for delivery in deliveries:
        if delivery.claimed_until is not None:
            logger.warning("delivery taken over from a lost worker", extra={"message_id": delivery.message_id})
        delivery.claimed_until = now + CLAIM
    rows = Delivery.objects.filter(organization=organization_id, pk__in=[delivery.pk for delivery in deliveries])
    rows.update(claimed_until=now + CLAIM)


def is_due(*, channel: Channel, now: datetime) -> bool:
    """Whether the channel has deliveries to claim."""
    return _due(channel, now).exists()


def enqueue_next_attempt(*, channel: Channel, now: datetime) -> None:
    """Enqueue the channel's task for the next retry if the beat schedule would send it later than that."""
    soon = Delivery.objects.filter(
        Q(webhook=None) | Q(webhook__enabled=True),
        state=DeliveryState.PENDING,
        channel=channel,
        next_attempt_at__gt=now,
        next_attempt_at__lte=now + SWEEP,
    )
    first = soon.aggregate(first=Min("next_attempt_at"))["first"]
    if first is not None:
        due = math.ceil(first.timestamp())
        within = max(datetime.fromtimestamp(due, UTC) - now, timedelta(seconds=1))
        enqueue_debounced_on_commit(DELIVER_TASKS[channel], within=within, due=due)


def succeeded(delivery: Delivery, *, status: int | None, now: datetime) -> None:
    """Record that the message was delivered, even if the claim has expired in the meantime."""
    Delivery.objects.row(delivery).exclude(state=DeliveryState.SENT).update(
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
    is_permanent: bool = False,
    retry_after: timedelta | None = None,
) -> bool:
    """Record a failed attempt, and schedule a retry or fail the delivery permanently; return whether it is final.

    `status` is the HTTP or SMTP status, None without a response. `retry_after` is how long the recipient asks to wait;
    it can extend the delay, up to a day. Nothing is recorded if the claim has expired, because another worker may have
    claimed the delivery.
    """
    attempts = delivery.attempts + 1
    changes: dict[str, Any] = {"attempts": attempts, "last_status": status, "last_error": error[:MAX_ERROR_LENGTH]}
    is_over = is_permanent or is_last_attempt(delivery)
    if is_over:
        changes |= {"state": DeliveryState.FAILED, "finished_at": now}
        logger.warning("delivery given up", extra={"message_id": delivery.message_id, "status": status})
    else:
        changes["next_attempt_at"] = now + retry_delay_after(attempts, retry_after)
    _claimed(delivery).update(claimed_until=None, **changes)
    return is_over


def is_last_attempt(delivery: Delivery) -> bool:
    """Whether the delivery fails permanently if the attempt in progress fails."""
    return delivery.attempts + 1 > len(BACKOFF)


def release_claim(deliveries: Iterable[Delivery], *, until: datetime, error: str | None = None) -> None:
    """Release deliveries that were not tried; they are due again at `until`. This does not count as an attempt."""
    changes = {} if error is None else {"last_status": None, "last_error": error[:MAX_ERROR_LENGTH]}
    for delivery in deliveries:
        _claimed(delivery).update(claimed_until=None, next_attempt_at=until, **changes)


def postpone(*, channel: Channel, now: datetime, until: datetime, error: str) -> None:
    """Postpone all due and unclaimed deliveries of a channel that cannot send. This does not count as an attempt."""
    for organization_id in _organizations_with_due(channel, now):
        with log_failure(organization_id, "deliveries could not be postponed"), transaction.atomic():
            due = _due(channel, now).filter(organization=organization_id)
            ids = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True))
            Delivery.objects.filter(organization=organization_id, pk__in=ids).update(
                claimed_until=None, next_attempt_at=until, last_status=None, last_error=error[:MAX_ERROR_LENGTH]
            )


@transaction.atomic
def resend(*, organization: Organization, delivery: Delivery, now: datetime, actor: str) -> Delivery:
    """Send a delivery again, or a pending one now. The attempts are counted from zero.

    It keeps its message id, so that a receiver can recognize a message that it has already handled. Only a sent email
    gets a new id, because mail programs hide a second message with the same one.

    Raises NotFoundError if it is another organization's, ConflictError if its webhook was removed or is disabled.
    """
    locked = Delivery.objects.of(organization).select_for_update().get_or_not_found("delivery", pk=delivery.pk)
    if locked.channel == Channel.WEBHOOK:
        locked.recipient = _enabled_webhook(locked).url
    if locked.channel == Channel.EMAIL and locked.state == DeliveryState.SENT:
        locked.message_id = new_message_id(locked.notice_id, Channel.EMAIL)
    previous_state = locked.state
    locked.state, locked.attempts, locked.next_attempt_at, locked.finished_at = DeliveryState.PENDING, 0, now, None
    locked.save(update_fields=["recipient", "message_id", "state", "attempts", "next_attempt_at", "finished_at"])
    subject = f"delivery {locked.pk}"  # a URL may be a secret, and is too long
    audit.record(
        organization=organization, actor=actor, action="delivery.resent", subject=subject, was=previous_state,
        message_id=locked.message_id,
    )  # fmt: skip
    enqueue_delivery(Channel(locked.channel))
    return locked


def _enabled_webhook(delivery: Delivery) -> WebhookEndpoint:
    if delivery.webhook is None:
        raise ConflictError("The webhook was removed.")
    if not delivery.webhook.enabled:
        raise ConflictError("The webhook is disabled. Enable it first.", code="webhook_disabled")
    return delivery.webhook


@transaction.atomic
def _claim(organization_id: int, channel: Channel, now: datetime, limit: int) -> list[Delivery]:
    due = _due(channel, now).filter(organization=organization_id).order_by("next_attempt_at", "pk")
    due = due.select_related("organization", "notice", "webhook").select_for_update(of=("self",), skip_locked=True)
    claimed = list(due[:limit])
    _mark_claimed(organization_id, claimed, now=now)
    return claimed


def _organizations_with_due(channel: Channel, now: datetime) -> list[int]:
    """Return the organizations with due deliveries, the longest overdue first."""
    due = _due(channel, now).values("organization_id").annotate(since=Min("next_attempt_at"))
    return list(due.order_by("since", "organization_id").values_list("organization_id", flat=True))


def _due(channel: Channel, now: datetime) -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        Q(claimed_until=None) | Q(claimed_until__lte=now),
        state=DeliveryState.PENDING,
        channel=channel,
        next_attempt_at__lte=now,
    )


def _claimed(delivery: Delivery) -> QuerySet[Delivery]:
    """Return the row, if it still has this worker's claim."""
    return Delivery.objects.row(delivery).filter(state=DeliveryState.PENDING, claimed_until=delivery.claimed_until)


def claim_one_per_endpoint(*, now: datetime, max_endpoints: int, exclude: Collection[int] = ()) -> list[Delivery]:
    """Claim one due delivery of up to `max_endpoints` endpoints, each with its organization, notice and webhook.

    `exclude` has ids of endpoints. Endpoints with a delivery in progress are excluded as well.
    """
    endpoints: dict[int, list[int]] = defaultdict(list)
    for organization_id, webhook_id in _pending_endpoints(now, exclude)[:max_endpoints]:
        endpoints[organization_id].append(webhook_id)
    claimed: list[Delivery] = []
    for organization_id, webhook_ids in endpoints.items():
        with log_failure(organization_id, "webhook deliveries could not be claimed"):
            claimed += _claim_of_endpoints(organization_id, webhook_ids, now)
    return claimed


@transaction.atomic
def _claim_of_endpoints(organization_id: int, webhook_ids: Collection[int], now: datetime) -> list[Delivery]:
    """Claim one due delivery of each of these endpoints that is still free."""
    enabled = WebhookEndpoint.objects.filter(organization=organization_id, pk__in=webhook_ids, enabled=True)
    locked = list(enabled.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
    # A worker that has just released a lock may have committed a claim, which only a new statement sees.
    own = {"organization": organization_id, "webhook__in": locked}
    free = set(locked) - set(_in_progress(now).filter(**own).values_list("webhook_id", flat=True))
    due = _due(Channel.WEBHOOK, now).filter(organization=organization_id, webhook__in=free)
    due = due.order_by("webhook_id", "next_attempt_at", "pk").distinct("webhook_id")
    claimed = list(due.select_related("organization", "notice", "webhook"))
    _mark_claimed(organization_id, claimed, now=now)
    return claimed


def _pending_endpoints(now: datetime, exclude: Collection[int]) -> "QuerySet[Delivery, tuple[int, int]]":
    """Return (organization, endpoint) without a delivery in progress, in the order in which they are tried."""
    in_progress = _in_progress(now).filter(organization=OuterRef("organization"), webhook=OuterRef("webhook"))
    due = _due(Channel.WEBHOOK, now).filter(~Exists(in_progress), webhook__enabled=True).exclude(webhook__in=exclude)
    return (
        due.values("organization_id", "webhook_id")
        .annotate(since=Min("next_attempt_at"))
        .order_by(F("webhook__failing_since").asc(nulls_first=True), "since", "webhook_id")
        .values_list("organization_id", "webhook_id")
    )


def _in_progress(now: datetime) -> QuerySet[Delivery]:
    return Delivery.objects.filter(
        channel=Channel.WEBHOOK, state=DeliveryState.PENDING, webhook__isnull=False, claimed_until__gt=now
    )


def shown_recipient(delivery: Delivery, *, is_open: bool) -> str:
    """Return the recipient; those who may not see it (`is_open`) see only the host of a URL or an email address."""
    if is_open:
        return delivery.recipient
    if delivery.channel == Channel.WEBHOOK.value:
        return display_url(delivery.recipient)
    return "…@" + delivery.recipient.rpartition("@")[2]
