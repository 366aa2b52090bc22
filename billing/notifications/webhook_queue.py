"""Which webhook deliveries are tried next: one at a time for each endpoint, so that no endpoint holds up another.

An endpoint is worked on by one worker, and for one delivery. The oldest delivery goes first; endpoints that have failed
lately wait behind the others.
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
def claim_one_per_endpoint(*, now: datetime, most: int, leave_out: Collection[int] = ()) -> list[Delivery]:
    """Claim a due delivery of up to `most` endpoints, each with its organization, notice and webhook.

    `leave_out` are ids of endpoints. Endpoints on which somebody works are left out, too.
    """
    wanted = _waiting_endpoints(now, leave_out)[:most]
    enabled = WebhookEndpoint.objects.filter(pk__in=list(wanted), enabled=True)
    locked = list(enabled.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
    # Whoever held a lock until a moment ago has claimed something by now, which only a new statement sees.
    free = set(locked) - set(_under_way(now).filter(webhook__in=locked).values_list("webhook_id", flat=True))
    due = _due(now).filter(webhook__in=free).order_by("webhook_id", "next_attempt_at", "pk").distinct("webhook_id")
    claimed = list(due.select_related("organization", "notice", "webhook"))
    for delivery in claimed:
        if delivery.claimed_until is not None:
            logger.warning("delivery taken over from a lost worker", extra={"message_id": delivery.message_id})
        delivery.claimed_until = now + CLAIM
    Delivery.objects.filter(pk__in=[delivery.pk for delivery in claimed]).update(claimed_until=now + CLAIM)
    return claimed


def _waiting_endpoints(now: datetime, leave_out: Collection[int]) -> "QuerySet[Delivery, int]":
    """Ids of endpoints that nobody works on, in the order in which they are tried."""
    due = _due(now).filter(webhook__enabled=True).exclude(webhook__in=leave_out)
    return (
        due.exclude(webhook__in=_under_way(now).values("webhook_id"))
        .values("webhook_id")
        .annotate(since=Min("next_attempt_at"))
        .order_by(F("webhook__failing_since").asc(nulls_first=True), "since", "webhook_id")
        .values_list("webhook_id", flat=True)
    )


def _pending() -> QuerySet[Delivery]:
    return Delivery.objects.filter(channel=Channel.WEBHOOK, state=DeliveryState.PENDING, webhook__isnull=False)


def _due(now: datetime) -> QuerySet[Delivery]:
    return _pending().filter(Q(claimed_until=None) | Q(claimed_until__lte=now), next_attempt_at__lte=now)


def _under_way(now: datetime) -> QuerySet[Delivery]:
    return _pending().filter(claimed_until__gt=now)
