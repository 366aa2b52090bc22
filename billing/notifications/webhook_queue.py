"""Select the webhook deliveries to try next: one at a time per endpoint, so that no endpoint delays another.

The oldest delivery of an endpoint goes first. Endpoints that have failed recently come after the others.
"""

import logging
from collections.abc import Collection
from datetime import datetime

from django.db import transaction
from django.db.models import F, Min, Q, QuerySet

from billing.models import Delivery, WebhookEndpoint
from billing.types import Channel, DeliveryState
from costtrack.mail.sending import CLAIM

logger = logging.getLogger(__name__)


@transaction.atomic
def claim_one_per_endpoint(*, now: datetime, max_endpoints: int, exclude: Collection[int] = ()) -> list[Delivery]:
    """Claim one due delivery of up to `max_endpoints` endpoints, each with its organization, notice and webhook.

    `exclude` has ids of endpoints. Endpoints with a delivery in progress are excluded as well.
    """
    candidates = _pending_endpoints(now, exclude)[:max_endpoints]
    enabled = WebhookEndpoint.objects.filter(pk__in=list(candidates), enabled=True)
    locked = list(enabled.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
    # A worker that has just released a lock may have committed a claim, which only a new statement sees.
    free = set(locked) - set(_in_progress(now).filter(webhook__in=locked).values_list("webhook_id", flat=True))
    due = _due(now).filter(webhook__in=free).order_by("webhook_id", "next_attempt_at", "pk").distinct("webhook_id")
    claimed = list(due.select_related("organization", "notice", "webhook"))
    for delivery in claimed:
        if delivery.claimed_until is not None:
            logger.warning("delivery taken over from a lost worker", extra={"message_id": delivery.message_id})
        delivery.claimed_until = now + CLAIM
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in claimed]).update(claimed_until=now + CLAIM)
    return claimed


def _pending_endpoints(now: datetime, exclude: Collection[int]) -> "QuerySet[Delivery, int]":
    """Return the ids of endpoints without a delivery in progress, in the order in which they are tried."""
    due = _due(now).filter(webhook__enabled=True).exclude(webhook__in=exclude)
    return (
        due.exclude(webhook__in=_in_progress(now).values("webhook_id"))
        .values("webhook_id")
        .annotate(since=Min("next_attempt_at"))
        .order_by(F("webhook__failing_since").asc(nulls_first=True), "since", "webhook_id")
        .values_list("webhook_id", flat=True)
    )


def _pending() -> QuerySet[Delivery]:
    return Delivery.objects.filter(channel=Channel.WEBHOOK, state=DeliveryState.PENDING, webhook__isnull=False)


def _due(now: datetime) -> QuerySet[Delivery]:
    return _pending().filter(Q(claimed_until=None) | Q(claimed_until__lte=now), next_attempt_at__lte=now)


def _in_progress(now: datetime) -> QuerySet[Delivery]:
    return _pending().filter(claimed_until__gt=now)
