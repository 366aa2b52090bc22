"""Read-only queries for single ledger rows. `billing.reports.event_detail` explains the cost of one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from billing.ingest import litellm
from billing.ingest.ledger_entries import DEFAULT_SOURCE, event_key
from billing.models import EventKey, UsageEvent
from billing.querysets import UsageEventQuerySet
from billing.reports.types import Window
from costtrack.errors import NotFoundError
from organizations.models import Organization

# Default sources of the ingestion endpoints, for events that do not name one.
SOURCES = (DEFAULT_SOURCE, litellm.SOURCE)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Filters of the event list; empty means any. An `event_id` belongs to a source; without `source` it is looked up
    in `SOURCES`."""

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
    """The position of a row in a list ordered by time."""

    occurred_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of rows, newest first. `last` is the position to continue after, or None on the last page."""

    events: Sequence[UsageEvent]
    last: Position | None


def list_events(*, organization: Organization, filters: EventFilter, after: Position | None, limit: int) -> EventPage:
    """Return ledger rows after a position, newest first."""
    events, end = _filtered(organization, filters), filters.window.end
    # Only one upper bound, so that the time index is entered exactly there.
    if after is not None and (end is None or after.occurred_at < end):
        events = events.before(after.occurred_at, after.id)
    elif end is not None:
        events = events.filter(occurred_at__lt=end)
    rows = list(events.order_by("-occurred_at", "-id")[: limit + 1])
    page = rows[:limit]
    return EventPage(page, Position(page[-1].occurred_at, page[-1].id) if len(rows) > limit else None)


def get_event(*, organization: Organization, event_id: UUID) -> UsageEvent:
    """Return one row by its ledger id. Raises NotFoundError."""
    event = UsageEvent.objects.of(organization).filter(id=event_id).first()
    if event is None:
        raise NotFoundError("No such event.")
    # Avoids a query when the event is explained.
    event.organization = organization
    return event


def first_event(*, organization: Organization) -> UsageEvent | None:
    """Return the first received row that is still in the ledger, or None."""
    event = UsageEvent.objects.of(organization).order_by("id").first()
    if event is not None:
        event.organization = organization
    return event


def _filtered(organization: Organization, filters: EventFilter) -> UsageEventQuerySet:
    """Return the filtered rows, without the end of the window."""
    events = UsageEvent.objects.of(organization)
    names = ("run_id", "session_id", "model", "service", "status", "source")
    events = events.filter(**{name: value for name in names if (value := getattr(filters, name))})
    if filters.event_id:
        sources = (filters.source,) if filters.source else SOURCES
        keys = [event_key(source, filters.event_id) for source in sources]
        event_keys = EventKey.objects.of(organization).filter(key__in=keys)
        events = events.filter(id__in=list(event_keys.values_list("event_id", flat=True)))
    if filters.window.start is not None:
        events = events.filter(occurred_at__gte=filters.window.start)
    return events
