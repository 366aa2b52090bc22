"""Find an archived event by its id, as the ledger's row that it was."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Sum
from psycopg import sql

from billing.archives.archive_reader import Reader, archives_between, opened
from billing.archives.archive_schema import columns, json_columns
from billing.models import DroppedMonth, EventArchive, UsageEvent
from costtrack.clock import MICROSECOND
from costtrack.errors import ConflictError
from costtrack.fields import RareCountField
from costtrack.ids import received_at
from organizations.models import Organization

_BY_ID = sql.SQL("SELECT {} FROM archive WHERE id = %(id)s")
_ADJUSTMENTS = sql.SQL("SELECT {} FROM archive WHERE adjusts = %(id)s ORDER BY received_at, id")


def find_archived_event(*, organization: Organization, event_id: UUID) -> UsageEvent | None:
    """Return the event with its archived adjustments, or None.

    Raises StorageError if the files cannot be read; ConflictError if later months were dropped without an archive, and
    with them maybe adjustments of the event.
    """
    try:
        month = received_at(event_id).date().replace(day=1)
    except OverflowError:
        return None  # a UUID that is not of an event
    archives = list(EventArchive.objects.of(organization).complete().filter(month=month))
    if not archives:
        return None
    with opened(organization, archives) as reader:
        rows = _rows(reader, organization, _BY_ID, event_id)
    if not rows:
        return None
    (event,) = rows
    event.is_archived = True
    if not _is_complete(organization, month):
        message = "Months after that of the archived event were dropped, so its current cost is not known."
        raise ConflictError(message, code="adjustments_dropped")
    at = event.occurred_at
    later = [archive for archive in archives_between(organization, at, at + MICROSECOND) if archive.month >= month]
    with opened(organization, later) as reader:
        event.archived_adjustments = tuple(_rows(reader, organization, _ADJUSTMENTS, event_id))
    return event


def _is_complete(organization: Organization, month: date) -> bool:
    """Whether all events that were dropped since the month are archived."""
    dropped = DroppedMonth.objects.of(organization).filter(month__gte=month).aggregate(events=Sum("events", default=0))
    archived = EventArchive.objects.of(organization).complete().filter(month__gte=month)
    return bool(dropped["events"] <= archived.aggregate(events=Sum("events", default=0))["events"])


def _rows(reader: Reader, organization: Organization, statement: sql.SQL, event_id: UUID) -> list[UsageEvent]:
    selected = sql.SQL(", ").join(map(sql.Identifier, columns()))
    return [_event(organization, row) for row in reader.fetch(statement.format(selected), {"id": event_id})]


def _event(organization: Organization, row: tuple[Any, ...]) -> UsageEvent:
    as_json = json_columns()
    values: dict[str, Any] = {}
    for field in UsageEvent._meta.concrete_fields:  # noqa: SLF001 - documented for such use
        if field.column == "organization_id":
            continue
        value = row[len(values)]
        if field.column in as_json and value is not None:
            value = msgspec.json.decode(value)
        elif isinstance(value, datetime):
            value = value.astimezone(UTC)
        elif value is None and isinstance(field, RareCountField):
            value = 0
        values[field.attname] = value
    event = UsageEvent(organization=organization, **values)
    event._state.adding = False  # noqa: SLF001 - as Django does for rows that it reads
    return event
