"""Select the webhook deliveries to try next: one at a time per endpoint, so that no endpoint delays another.

The oldest delivery of an endpoint goes first. Endpoints that have failed recently come after the others.
"""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.deliver import mark_claimed
from billing.types import Channel, DeliveryState
from organizations.failures import log_failure


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
            claimed += _claim(organization_id, webhook_ids, now)
    return claimed


@transaction.atomic
def _claim(organization_id: int, webhook_ids: Collection[int], now: datetime) -> list[Delivery]:
    """Claim one due delivery of each of these endpoints that is still free."""
    enabled = WebhookEndpoint.objects.filter(organization=organization_id, pk__in=webhook_ids, enabled=True)
    locked = list(enabled.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
    # A worker that has just released a lock may have committed a claim, which only a new statement sees.
    own = {"organization": organization_id, "webhook__in": locked}
    free = set(locked) - set(_in_progress(now).filter(**own).values_list("webhook_id", flat=True))
    due = _due(now).filter(organization=organization_id, webhook__in=free)
    due = due.order_by("webhook_id", "next_attempt_at", "pk").distinct("webhook_id")
    claimed = list(due.select_related("organization", "notice", "webhook"))
    mark_claimed(organization_id, claimed, now=now)
    return claimed


def _pending_endpoints(now: datetime, exclude: Collection[int]) -> "QuerySet[Delivery, tuple[int, int]]":
    """Return (organization, endpoint) without a delivery in progress, in the order in which they are tried."""
    in_progress = _in_progress(now).filter(organization=OuterRef("organization"), webhook=OuterRef("webhook"))
    due = _due(now).filter(~Exists(in_progress), webhook__enabled=True).exclude(webhook__in=exclude)
    return (
        due.values("organization_id", "webhook_id")
        .annotate(since=Min("next_attempt_at"))
        .order_by(F("webhook__failing_since").asc(nulls_first=True), "since", "webhook_id")
        .values_list("organization_id", "webhook_id")
    )


def _pending() -> QuerySet[Delivery]:
    return Delivery.objects.filter(channel=Channel.WEBHOOK, state=DeliveryState.PENDING, webhook__isnull=False)


def _due(now: datetime) -> QuerySet[Delivery]:
    return _pending().filter(Q(claimed_until=None) | Q(claimed_until__lte=now), next_attempt_at__lte=now)


def _in_progress(now: datetime) -> QuerySet[Delivery]:
    return _pending().filter(claimed_until__gt=now)
