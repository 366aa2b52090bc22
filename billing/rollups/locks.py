"""Who may write an organization's rollups: one fold at a time, or one that computes them anew.

Folds of one organization meet in the same rows (the hour, the day, the organization itself), so that two at once would
only wait for each other, each with half of the batches. One that has all of them takes a good half of the time.

The locks are PostgreSQL's advisory ones and end with the transaction, whatever happens to who holds them.
"""

from typing import Any

# In the upper half of the 64 bits, so that organizations' numbers do not meet other users of such locks.
_ROLLUPS = 0x524F4C << 36


def gets_rollups(cursor: Any, organization_id: int) -> bool:
    """Have the rollups alone, if nobody else has; whoever has goes on until nothing waits."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_ROLLUPS + organization_id])
    (taken,) = cursor.fetchone()
    return bool(taken)


def has_rollups_alone(cursor: Any, organization_id: int) -> None:
    """Wait until nobody writes the rollups, and keep everybody else from it."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ROLLUPS + organization_id])
