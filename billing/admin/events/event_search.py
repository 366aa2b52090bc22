"""Finding events in a ledger of any size: by an index, or among the newest ones only."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q

from billing.ingest.entries import event_key
from billing.models import EventKey
from billing.querysets import UsageEventQuerySet
from organizations.models import Organization

MAX_SEARCHED = 50_000
"""What has no index is looked for among this many events of an organization."""
_MAX_MATCHES = 100
_SOURCES_AMONG = 10_000


def looked_through_since(events: UsageEventQuerySet) -> datetime | None:
    """When the oldest of the newest `MAX_SEARCHED` events occurred; None when there are not so many.

    `events` are an organization's, of all times or of a span of time: this walks along the index on time only.
    """
    newest = events.order_by("-occurred_at", "-id").values_list("occurred_at", flat=True)
    for occurred_at in newest[MAX_SEARCHED - 1 : MAX_SEARCHED]:
        return occurred_at
    return None


def events_named(organization: Organization, events: UsageEventQuerySet, name: str) -> Q:
    """Which of an organization's events carry this id: their own or their batch's, the caller's, a run's, a session's
    or a request's; the first of these that fits anything. Request ids are looked for among the newest events."""
    for condition in (
        _with_id(name),
        _with_keys(organization, _keys(events, name)),
        Q(run_id=name),
        Q(session_id=name),
    ):
        if events.filter(condition).exists():
            return condition
    since = looked_through_since(events)
    recent = events if since is None else events.filter(occurred_at__gte=since)
    found = recent.filter(request_id=name).order_by("-occurred_at", "-id").values_list("pk", flat=True)
    return Q(pk__in=list(found[:_MAX_MATCHES]))


def _with_id(name: str) -> Q:
    try:
        return Q(pk=UUID(name))
    except ValueError:
        return Q(pk__in=[])


def _with_keys(organization: Organization, keys: list[UUID]) -> Q:
    holding = EventKey.objects.of(organization).filter(key__in=keys)
    return Q(pk__in=list(holding.values_list("event_id", flat=True)))


def _keys(events: UsageEventQuerySet, event_id: str) -> list[UUID]:
    """The identities that a caller's id makes with each source that has sent something lately."""
    newest = events.order_by("-occurred_at", "-id").values_list("source", flat=True)
    return [event_key(source, event_id) for source in set(newest[:_SOURCES_AMONG])]
