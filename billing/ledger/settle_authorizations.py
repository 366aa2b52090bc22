"""Settle authorizations: an event that names its authorization ends it, in the transaction that stores the event.

The cost of the event counts as spent from the moment its reservation is released. An event that is sent again is a
duplicate and settles nothing. The cost of a late event is added to an authorization that has already ended.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection

from billing.ledger.types import LedgerEntry
from costtrack.money import ZERO

# The first event settles the authorization; the costs of further events of the same call are added.
_SETTLE = """
UPDATE billing_authorization AS reservation
SET status = 'settled',
    settled_usd = coalesce(reservation.settled_usd, 0) + cost.usd,
    ended_at = coalesce(reservation.ended_at, %s)
FROM (
    SELECT locked.id, named.usd FROM unnest(%s::uuid[], %s::numeric[]) AS named (id, usd)
    JOIN billing_authorization AS locked ON locked.organization_id = %s AND locked.id = named.id
    ORDER BY locked.id FOR NO KEY UPDATE OF locked
) AS cost
WHERE reservation.organization_id = %s AND reservation.id = cost.id
"""


def settle(*, organization_id: int, entries: Iterable[LedgerEntry], now: datetime) -> None:
    """End the authorizations that the stored entries name. Unknown ids are ignored, because the usage has happened."""
    costs: dict[UUID, Decimal] = {}
    for entry in entries:
        if entry.authorization_id is not None:
            costs[entry.authorization_id] = costs.get(entry.authorization_id, ZERO) + entry.known_cost_usd
    if not costs:
        return
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, [now, list(costs), list(costs.values()), organization_id, organization_id])
