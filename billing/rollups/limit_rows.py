"""The rollup rows of a limit with several conditions or another unit (`billing.limits.conditions`).

Folding writes them while there is such a limit. The rows of events that were folded before it existed are added when it
is created, and all of them are deleted when it is removed. The lock on the rollups orders this against folds.
"""

from django.db import connection

from billing.models.rollups import ScopeHour, ScopeTotal
from billing.rollups.definitions import LIMIT_HOURS, LIMIT_TOTALS
from billing.rollups.locks import lock_rollups
from billing.rollups.sql import EVENTS, IS_FOLDED, aggregate_query, upsert_statement


def add_limit_rows(organization_id: int, scope: str) -> None:
    """Add the rows of all folded events in the ledger. Call it in the transaction that creates the limit."""
    with connection.cursor() as cursor:
        lock_rollups(cursor, organization_id)
        for rollup in (LIMIT_HOURS, LIMIT_TOTALS):
            rows = aggregate_query(rollup, EVENTS, IS_FOLDED)
            cursor.execute(upsert_statement(rollup, rows), {"organization": organization_id, "scope": scope})


def delete_limit_rows(organization_id: int, scope: str) -> None:
    """Delete the rows. Call it in the transaction that removes the limit."""
    with connection.cursor() as cursor:
        lock_rollups(cursor, organization_id)
    for rows in (ScopeHour.objects, ScopeTotal.objects):
        rows.filter(organization=organization_id, scope=scope).delete()
