"""Settling: an event that names its authorization ends it, in the transaction that stores the event.

So what the event cost is spent from the moment on at which its reservation holds nothing more, and once: an event that
is sent again is a duplicate and settles nothing. Late events, of reservations that have ended, are told there too.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection

from billing.ledger.types import LedgerEntry
from costtrack.money import ZERO

# One event settles it; what further events of the same call cost is added.
_SETTLE = """
UPDATE billing_authorization AS held
SET status = 'settled', settled_usd = coalesce(held.settled_usd, 0) + told.usd, ended_at = coalesce(held.ended_at, %s)
FROM (
    SELECT kept.id, named.usd FROM unnest(%s::uuid[], %s::numeric[]) AS named (id, usd)
    JOIN billing_authorization AS kept ON kept.organization_id = %s AND kept.id = named.id
    ORDER BY kept.id FOR NO KEY UPDATE OF kept
) AS told
WHERE held.organization_id = %s AND held.id = told.id
"""


def settle(*, organization_id: int, entries: Iterable[LedgerEntry], now: datetime) -> None:
    """End the authorizations that stored entries name. One that nobody knows is left unsaid: its usage has happened."""
    costs: dict[UUID, Decimal] = {}
    for entry in entries:
        if entry.authorization_id is not None:
            costs[entry.authorization_id] = costs.get(entry.authorization_id, ZERO) + entry.known_cost_usd
    if not costs:
        return
    with connection.cursor() as cursor:
        cursor.execute(_SETTLE, [now, list(costs), list(costs.values()), organization_id, organization_id])
