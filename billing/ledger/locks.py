"""Locks that serialize the corrections of an event.

A correction takes the organization's lock in shared mode, the locks of its events in exclusive mode, and their rows in
the queue of unpriced events, as pricing them does. A repricing step, which corrects thousands of events, takes the
organization's lock in exclusive mode.

The locks are PostgreSQL's advisory locks and end with the transaction.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db import connection

from billing.models import UnpricedEvent

_LOCK_EVENTS = """
SELECT pg_advisory_xact_lock(hashtextextended('event ' || event.id, %s)) FROM unnest(%s::uuid[]) AS event (id)
"""
# In the upper half of the 64 bits, so that the ids of organizations do not collide with other advisory locks.
_CORRECTIONS = 0x434F52 << 36


def lock_event_corrections(organization_id: int, event_ids: Iterable[UUID]) -> None:
    """Wait for other corrections and the pricing of the events, and block later ones until the transaction ends.

    The locks are taken in the order of the ids, so transactions that correct the same events cannot deadlock.
    """
    ordered = sorted(event_ids)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_CORRECTIONS + organization_id])
        cursor.execute(_LOCK_EVENTS, [organization_id, ordered])
    unpriced = UnpricedEvent.objects.filter(organization_id=organization_id, event_id__in=ordered)
    list(unpriced.order_by("event_id").select_for_update().values_list("event_id"))


def lock_all_corrections(organization_id: int) -> None:
    """Wait for all corrections of the organization's events, and block later ones until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_CORRECTIONS + organization_id])
