"""Health checks of notice deliveries. Read-only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q

from billing.models import Delivery, WebhookEndpoint
from billing.types import Channel, DeliveryState
from costtrack.clock import utc_now
from costtrack.health.measures import Measure, declare
from costtrack.health.registry import Check, Link
from costtrack.organization_paths import organization_url

LATE_AFTER = timedelta(minutes=5)
"""A delivery that is due for longer than this is late."""
RECENTLY = timedelta(days=1)

_SECTION = "Notifications"
_MAX_NAMED = 5
_PENDING = declare("costtrack_deliveries_pending", "Messages of notices that are not sent yet.", "channel")
_FAILED = declare("costtrack_deliveries_failed", "Messages that failed permanently in the last day.", "channel")
_DUE = declare("costtrack_deliveries_due_seconds", "How long the oldest due message has been due.", "channel")
_FAILING_WEBHOOKS = declare("costtrack_webhooks_failing", "Webhook endpoints whose last deliveries failed.")
_DISABLED_WEBHOOKS = declare("costtrack_webhooks_disabled", "Webhook endpoints that are disabled.")
_FAILED_ADVICE = "They are not retried automatically. Check the error and resend them:"
_LATE_ADVICE = {
    Channel.EMAIL: "Check the workers of the notifications queue and COSTTRACK_EMAIL_URL.",
    Channel.WEBHOOK: "Check the workers of the notifications queue.",
}


@dataclass(frozen=True, slots=True)
class DeliveryCounts:
    """Counts of one channel: pending deliveries, the oldest due one, pending ones with failed attempts, and failed ones
    of the last day."""

    pending: int
    due_since: datetime | None
    retried: int
    failed: int
    failed_by_organization: tuple[tuple[str, int], ...] = ()
    """The slugs of the organizations with the most failed deliveries."""


def count_deliveries(*, channel: Channel, now: datetime) -> DeliveryCounts:
    of_channel = Delivery.objects.filter(channel=channel.value)
    # One query per state, so that pending deliveries come from their small partial index.
    pending = of_channel.filter(state=DeliveryState.PENDING.value).aggregate(
        pending=Count("*"),
        due_since=Min("next_attempt_at", filter=Q(claimed_until=None) | Q(claimed_until__lt=now)),
        retried=Count("pk", filter=Q(attempts__gt=0)),
    )
    failed = of_channel.filter(state=DeliveryState.FAILED.value, finished_at__gt=now - RECENTLY)
    by_organization = failed.values_list("organization__slug").annotate(number=Count("*"))
    top_organizations = by_organization.order_by("-number", "organization__slug")[:_MAX_NAMED]
    return DeliveryCounts(**pending, failed=failed.count(), failed_by_organization=tuple(top_organizations))


def delivery_checks() -> list[Check]:
    """Return the checks for the operator health page."""
    now = utc_now()
    return [_check(channel, count_deliveries(channel=channel, now=now), now) for channel in Channel]


def _check(channel: Channel, counts: DeliveryCounts, now: datetime) -> Check:
    is_late = counts.due_since is not None and counts.due_since < now - LATE_AFTER
    details = {"Pending": f"{counts.pending:,}"}
    if counts.retried:
        details["Retrying"] = f"{counts.retried:,}"
    if counts.failed:
        details["Failed in the last day"] = f"{counts.failed:,}"
    return Check(
        f"deliveries_{channel.value}",
        channel.label,
        _SECTION,
        ok=not is_late,
        state="late" if is_late else "current",
        details=details,
        advice=_LATE_ADVICE[channel] if is_late else _FAILED_ADVICE * bool(counts.failed),
        measures=_measures(channel, counts, now),
        links=tuple(Link(f"{slug} ({number:,})", _failed_url(slug)) for slug, number in counts.failed_by_organization),
    )


def _measures(channel: Channel, counts: DeliveryCounts, now: datetime) -> tuple[Measure, ...]:
    due_seconds = (now - counts.due_since).total_seconds() if counts.due_since is not None else 0.0
    measures = (
        _PENDING.measure(counts.pending, channel.value),
        _FAILED.measure(counts.failed, channel.value),
        _DUE.measure(max(due_seconds, 0.0), channel.value),
    )
    if channel is not Channel.WEBHOOK:
        return measures
    webhooks = WebhookEndpoint.objects.aggregate(
        failing=Count("pk", filter=Q(enabled=True) & ~Q(failing_since=None)),
        disabled=Count("pk", filter=Q(enabled=False)),
    )
    return (*measures, _FAILING_WEBHOOKS.measure(webhooks["failing"]), _DISABLED_WEBHOOKS.measure(webhooks["disabled"]))


def _failed_url(slug: str) -> str:
    return f"{organization_url(slug, 'billing_delivery_changelist')}?state={DeliveryState.FAILED.value}"
