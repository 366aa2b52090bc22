"""Corrections of one event come one after the other, so that each starts from what the one before has left.

A correction of a single event shares the organization's lock and has the event's alone; a repricing, which corrects
thousands at once, has the organization's alone for the length of one transaction. (Events that wait for a price are
locked by their row in the queue, which pricing them takes too.)

The locks are PostgreSQL's advisory ones and end with the transaction, whatever happens to who holds them.
"""

from uuid import UUID

from django.db import connection

# In the upper half of the 64 bits, so that organizations' numbers do not meet other users of such locks.
_CORRECTIONS = 0x434F52 << 36


def correction_lock(organization_id: int, event_id: UUID) -> None:
    """Wait until nobody else corrects the event."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_CORRECTIONS + organization_id])
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, %s))", [f"event {event_id}", organization_id])


def correcting_many(organization_id: int) -> None:
    """Wait until nobody corrects any event of the organization."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CORRECTIONS + organization_id])
