"""Single rows of the ledger: the list of them, and one by its id. Read-only. (`billing.reports.event_detail` says why
one
costs what it costs.)"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from billing.ingest import litellm
from billing.ingest.entries import DEFAULT_SOURCE, event_key
from billing.models import EventKey, UsageEvent
from billing.querysets import UsageEventQuerySet
from billing.reports.types import Window
from costtrack.errors import NotFoundError
from organizations.models import Organization

# What the doors call themselves in events that do not name a source of their own.
SOURCES = (DEFAULT_SOURCE, litellm.SOURCE)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which rows to list. Empty: all. An `event_id` belongs to a source; without one it is looked for in `SOURCES`."""

    run_id: str = ""
    session_id: str = ""
    model: str = ""
    service: str = ""
    status: str = ""
    source: str = ""
    event_id: str = ""
    window: Window = field(default_factory=Window)


@dataclass(frozen=True, slots=True)
class Position:
    """A row's place in the list."""

    occurred_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class EventPage:
    """Rows, newest first, and the place to go on from; None: there are no more."""

    events: Sequence[UsageEvent]
    last: Position | None


def list_events(*, organization: Organization, filters: EventFilter, after: Position | None, limit: int) -> EventPage:
    """The organization's rows, newest first, from just after a position on."""
    events, end = _matching(organization, filters), filters.window.end
    # One upper bound and no more: the index on time is entered there.
    if after is not None and (end is None or after.occurred_at < end):
        events = events.before(after.occurred_at, after.id)
    elif end is not None:
        events = events.filter(occurred_at__lt=end)
    found = list(events.order_by("-occurred_at", "-id")[: limit + 1])
    page = found[:limit]
    return EventPage(page, Position(page[-1].occurred_at, page[-1].id) if len(found) > limit else None)


def event_by_id(*, organization: Organization, event_id: UUID) -> UsageEvent:
    """One row by its own id. Raises NotFoundError."""
    event = UsageEvent.objects.of(organization).filter(id=event_id).first()
    if event is None:
        raise NotFoundError("No such event.")
    # The organization is at hand already; what explains the event asks for it.
    event.organization = organization
    return event


def first_event(*, organization: Organization) -> UsageEvent | None:
    """The row that was received first, of those that are kept; None: nothing has been received."""
    event = UsageEvent.objects.of(organization).order_by("id").first()
    if event is not None:
        event.organization = organization
    return event


def _matching(organization: Organization, filters: EventFilter) -> UsageEventQuerySet:
    """Without the end of the window."""
    events = UsageEvent.objects.of(organization)
    names = ("run_id", "session_id", "model", "service", "status", "source")
    events = events.filter(**{name: value for name in names if (value := getattr(filters, name))})
    if filters.event_id:
        sources = (filters.source,) if filters.source else SOURCES
        keys = [event_key(source, filters.event_id) for source in sources]
        holding = EventKey.objects.of(organization).filter(key__in=keys)
        events = events.filter(id__in=list(holding.values_list("event_id", flat=True)))
    if filters.window.start is not None:
        events = events.filter(occurred_at__gte=filters.window.start)
    return events
