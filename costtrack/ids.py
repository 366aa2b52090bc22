"""Identifiers of batches and events: UUIDs of version 7 (RFC 9562), so that new rows are neighbours on disk.

The 16 last bits of a batch's id are zero, and its events are numbered in them: event i of a batch has the id
`batch + 1 + i`. So an event tells its batch, and a batch's events are one range of the primary key, without a
column or an index for it.
"""

import secrets
from datetime import datetime
from uuid import UUID

_EVENT_BITS = 16
_CLOCKS_DIFFER_MS = 3_600_000
MAX_EVENTS_PER_BATCH = (1 << _EVENT_BITS) - 1


def new_batch_id(now: datetime) -> UUID:
    """A fresh id whose 48 first bits are `now` in milliseconds and whose 16 last bits are zero."""
    milliseconds = int(now.timestamp() * 1000)
    rand_a = secrets.randbits(12)
    rand_b = secrets.randbits(62 - _EVENT_BITS) << _EVENT_BITS
    return UUID(int=milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


def new_id(now: datetime) -> UUID:
    """A fresh id whose 48 first bits are `now` in milliseconds; the others are random."""
    milliseconds = int(now.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62))


def event_ids(batch_id: UUID, count: int) -> list[UUID]:
    """The ids of the batch's first `count` events, in order."""
    if count > MAX_EVENTS_PER_BATCH:
        raise ValueError(f"A batch holds at most {MAX_EVENTS_PER_BATCH} events.")
    first = batch_id.int + 1
    return [UUID(int=number) for number in range(first, first + count)]


def batch_of(event_id: UUID) -> UUID:
    """The id of the batch that wrote the event."""
    return UUID(int=event_id.int >> _EVENT_BITS << _EVENT_BITS)


def last_event_id(batch_id: UUID) -> UUID:
    """The largest id an event of the batch can have."""
    return UUID(int=batch_id.int | MAX_EVENTS_PER_BATCH)


def earliest_after(first_id: UUID) -> UUID:
    """No id that is made later is smaller than this, even where clocks differ by up to an hour."""
    milliseconds = max((first_id.int >> 80) - _CLOCKS_DIFFER_MS, 0)
    return UUID(int=milliseconds << 80)


def ids_at(instant: datetime) -> tuple[UUID, UUID]:
    """The smallest and the largest id that can be made in this millisecond. Ids are ordered by the time of their
    batch, so a span of time is a range of them."""
    first = int(instant.timestamp() * 1000) << 80
    return UUID(int=first), UUID(int=first | (1 << 80) - 1)
