"""Late events: rows of the ledger that are folded after the month of their usage was closed.

A row is booked when it is folded. Closing a month holds the same lock as a fold, so each row is either in the statement
of the closed month, or a late event of it (docs/decisions/041-booking.md).
"""

from typing import Any

from psycopg import sql

from billing.rollups.sql import OF_BATCHES

_LAST_CLOSED = """
SELECT ends_at, (month + interval '1 month')::date
FROM billing_closedmonth
WHERE organization_id = %(organization)s
ORDER BY month DESC
LIMIT 1
"""
# Time before the first closed month is divided into months by the time zone of its closing.
CLOSED_MONTH_OF_EVENT = sql.SQL("""coalesce(
    (
        SELECT closed.month FROM billing_closedmonth AS closed
        WHERE closed.organization_id = %(organization)s
            AND event.occurred_at >= closed.starts_at AND event.occurred_at < closed.ends_at
    ),
    (
        SELECT date_trunc('month', event.occurred_at AT TIME ZONE closed.time_zone)::date
        FROM billing_closedmonth AS closed
        WHERE closed.organization_id = %(organization)s
        ORDER BY closed.month LIMIT 1
    )
)""")
# Parameters: those of OF_BATCHES, closed_until and open_month.
_RECORD = sql.SQL("""
INSERT INTO billing_lateevent (organization_id, event_id, month, booked_month)
SELECT %(organization)s, event.id, {month}, %(open_month)s
FROM {events}
WHERE event.occurred_at < %(closed_until)s
""").format(month=CLOSED_MONTH_OF_EVENT, events=OF_BATCHES)


def record_late_events(cursor: Any, parameters: dict[str, Any]) -> None:
    """Record the late events of the batches of a fold, which holds the lock on the rollups."""
    cursor.execute(_LAST_CLOSED, parameters)
    row = cursor.fetchone()
    if row is not None:
        closed_until, open_month = row
        cursor.execute(_RECORD, {**parameters, "closed_until": closed_until, "open_month": open_month})
