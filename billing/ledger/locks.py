"""Locks that serialize the corrections of an event.

A correction of one event takes the organization's lock in shared mode and the event's lock in exclusive mode. A
repricing step, which corrects thousands of events, takes the organization's lock in exclusive mode. (Unpriced events
are also locked by their row in the queue, as pricing them does.)

The locks are PostgreSQL's advisory locks and end with the transaction.
"""

from uuid import UUID

from django.db import connection

# In the upper half of the 64 bits, so that the ids of organizations do not collide with other advisory locks.
_CORRECTIONS = 0x434F52 << 36


def lock_event_correction(organization_id: int, event_id: UUID) -> None:
    """Wait for other corrections of the event, and block later ones until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_CORRECTIONS + organization_id])
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [f"event {event_id}", organization_id])


def lock_all_corrections(organization_id: int) -> None:
    """Wait for all corrections of the organization's events, and block later ones until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CORRECTIONS + organization_id])
