"""Whether notices reach people and programs. Read-only."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q

from billing.models import Delivery
from billing.types import Channel, DeliveryState
from costtrack.clock import utc_now
from costtrack.health.registry import Check, Link
from costtrack.organization_paths import for_organization

LATE_AFTER = timedelta(minutes=5)
"""What is due for longer than this is not being tried."""
LATELY = timedelta(days=1)

_SECTION = "Notifications"
_MAX_NAMED = 5
_GIVEN_UP = "They are not tried again by themselves. See what the recipient said, and send them again:"
_ADVICE = {
    Channel.EMAIL: "Look at the workers of the queue notifications, and at COSTTRACK_EMAIL_URL.",
    Channel.WEBHOOK: "Look at the workers of the queue notifications.",
}


@dataclass(frozen=True, slots=True)
class Deliveries:
    """Of one channel: how many wait, the oldest that is due, those tried in vain, and those given up lately."""

    waiting: int
    due_since: datetime | None
    retried: int
    given_up: int
    given_up_by: tuple[tuple[str, int], ...] = ()
    """The organizations (their slugs) whose notices were given up most."""


def deliveries(*, channel: Channel, now: datetime) -> Deliveries:
    of_channel = Delivery.objects.filter(channel=channel.value)
    # Of each kind by itself: what waits is an index of few rows.
    waiting = of_channel.filter(state=DeliveryState.PENDING.value).aggregate(
        waiting=Count("*"),
        due_since=Min("next_attempt_at", filter=Q(claimed_until=None) | Q(claimed_until__lt=now)),
        retried=Count("pk", filter=Q(attempts__gt=0)),
    )
    failed = of_channel.filter(state=DeliveryState.FAILED.value, finished_at__gt=now - LATELY)
    by_organization = failed.values_list("organization__slug").annotate(number=Count("*"))
    most = by_organization.order_by("-number", "organization__slug")[:_MAX_NAMED]
    return Deliveries(**waiting, given_up=failed.count(), given_up_by=tuple(most))


def delivery_checks() -> list[Check]:
    """For the operators' health page."""
    now = utc_now()
    return [_check(channel, deliveries(channel=channel, now=now), now) for channel in Channel]


def _check(channel: Channel, found: Deliveries, now: datetime) -> Check:
    is_late = found.due_since is not None and found.due_since < now - LATE_AFTER
    facts = {"Waiting": f"{found.waiting:,}"}
    if found.retried:
        facts["Tried in vain"] = f"{found.retried:,}"
    if found.given_up:
        facts["Given up in the last day"] = f"{found.given_up:,}"
    return Check(
        f"deliveries_{channel.value}",
        channel.label,
        _SECTION,
        ok=not is_late,
        state="late" if is_late else "current",
        facts=facts,
        advice=_ADVICE[channel] if is_late else _GIVEN_UP * bool(found.given_up),
        links=tuple(Link(f"{slug} ({number:,})", _failed_url(slug)) for slug, number in found.given_up_by),
    )


def _failed_url(slug: str) -> str:
    return f"{for_organization(slug, 'billing_delivery_changelist')}?state={DeliveryState.FAILED.value}"
