"""Searches events in a ledger of any size: by an index, or only among the newest events."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q

from billing.ingest.ledger_entries import event_key
from billing.models import EventKey
from billing.models.ledger import UsageEventQuerySet
from organizations.models import Organization

MAX_SEARCHED = 50_000
"""Columns without an index are searched only in this many of an organization's newest events."""
_MAX_MATCHES = 100
_SOURCES_AMONG = 10_000


def searched_since(events: UsageEventQuerySet) -> datetime | None:
    """Return when the oldest of the newest `MAX_SEARCHED` events occurred; None if there are fewer.

    `events` are an organization's, optionally of a period, so that the query uses the index on time.
    """
    newest = events.order_by("-occurred_at", "-id").values_list("occurred_at", flat=True)
    for occurred_at in newest[MAX_SEARCHED - 1 : MAX_SEARCHED]:
        return occurred_at
    return None


def events_named(organization: Organization, events: UsageEventQuerySet, name: str) -> Q:
    """Return a condition for the events with this id: an event's or batch's id, the caller's id, a run, a session or a
    request id, whichever matches first. Request ids are searched only among the newest events."""
    for condition in (
        _with_id(name),
        _with_keys(organization, event_keys(events, name, among=_SOURCES_AMONG)),
        Q(run_id=name),
        Q(session_id=name),
    ):
        if events.filter(condition).exists():
            return condition
    since = searched_since(events)
    recent = events if since is None else events.filter(occurred_at__gte=since)
    matches = recent.filter(request_id=name).order_by("-occurred_at", "-id").values_list("pk", flat=True)
    return Q(pk__in=list(matches[:_MAX_MATCHES]))


def _with_id(name: str) -> Q:
    try:
        return Q(pk=UUID(name))
    except ValueError:
        return Q(pk__in=[])


def _with_keys(organization: Organization, keys: list[UUID]) -> Q:
    holding = EventKey.objects.of(organization).filter(key__in=keys)
    return Q(pk__in=list(holding.values_list("event_id", flat=True)))


def event_keys(events: UsageEventQuerySet, event_id: str, *, among: int) -> list[UUID]:
    """Return the event keys of a caller's id for each source of the newest events, of which `among` are read."""
    newest = events.order_by("-occurred_at", "-id").values_list("source", flat=True)
    return [event_key(source, event_id) for source in set(newest[:among])]
