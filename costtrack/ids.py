"""Identifiers of batches and events: UUIDs of version 7 (RFC 9562), so that new rows are close to each other on disk.

The last 16 bits of a batch id are zero and number its events: event i of a batch has the id `batch + 1 + i`. So an
event id contains its batch id, and the events of a batch are one range of the primary key, without a column or index
for it.
"""

import secrets
from datetime import datetime, timedelta
from uuid import UUID

from costtrack.clock import DAY, EPOCH

_EVENT_BITS = 16
CLOCKS_DIFFER_MS = 3_600_000
# An event is received at most an hour before it occurred; a day also allows for clocks that differ.
_MAX_CLOCK_SKEW = DAY
MAX_EVENTS_PER_BATCH = (1 << _EVENT_BITS) - 1


def new_batch_id(now: datetime) -> UUID:
    """Create an id whose first 48 bits are `now` in milliseconds and whose last 16 bits are zero."""
    milliseconds = int(now.timestamp() * 1000)
    rand_a = secrets.randbits(12)
    rand_b = secrets.randbits(62 - _EVENT_BITS) << _EVENT_BITS
    return UUID(int=milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


def new_id(now: datetime) -> UUID:
    """Create an id whose first 48 bits are `now` in milliseconds; the others are random."""
    milliseconds = int(now.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62))


def event_ids(batch_id: UUID, count: int) -> list[UUID]:
    """Return the ids of the first `count` events of a batch, in order."""
    if count > MAX_EVENTS_PER_BATCH:
        raise ValueError(f"A batch can contain up to {MAX_EVENTS_PER_BATCH} events.")
    first = batch_id.int + 1
    return [UUID(int=number) for number in range(first, first + count)]


def batch_of(event_id: UUID) -> UUID:
    """Return the id of the batch of an event."""
    return UUID(int=event_id.int >> _EVENT_BITS << _EVENT_BITS)


def received_at(event_id: UUID) -> datetime:
    """Return when the batch of an event was received, in milliseconds. Raises OverflowError for other UUIDs that would
    be after the year 9999."""
    return EPOCH + timedelta(milliseconds=event_id.int >> 80)


def last_event_id(batch_id: UUID) -> UUID:
    """Return the largest possible id of an event in the batch."""
    return UUID(int=batch_id.int | MAX_EVENTS_PER_BATCH)


def earliest_after(first_id: UUID) -> UUID:
    """Return a lower bound of all ids created later, even by machines whose clocks differ by up to an hour."""
    milliseconds = max((first_id.int >> 80) - CLOCKS_DIFFER_MS, 0)
    return UUID(int=milliseconds << 80)


def ids_at(instant: datetime) -> tuple[UUID, UUID]:
    """Return the smallest and the largest id of this millisecond. Ids are ordered by the time of their batch, so a span
    of time is a range of ids."""
    first = int(instant.timestamp() * 1000) << 80
    return UUID(int=first), UUID(int=first | (1 << 80) - 1)


def first_id_of(instant: datetime | None) -> UUID:
    """Return a lower bound of the ids of all events that occurred at the instant or later. In a condition it skips the
    partitions of earlier months. (None is the beginning of time.)"""
    if instant is None or instant - EPOCH <= _MAX_CLOCK_SKEW:
        return UUID(int=0)
    return ids_at(instant - _MAX_CLOCK_SKEW)[0]
