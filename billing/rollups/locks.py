"""The lock on an organization's rollups: one fold, rebuild or archival at a time.

Concurrent folds of one organization would update the same rows (the hour, the day) and wait for each other. One fold of
all batches takes about half the time.

The locks are PostgreSQL's advisory locks and end with the transaction.
"""

from typing import Any

# In the upper half of the 64 bits, so that the ids of organizations do not collide with other advisory locks.
_ROLLUPS = 0x524F4C << 36


def try_lock_rollups(cursor: Any, organization_id: int) -> bool:
    """Lock the rollups if they are not locked; return whether they are. The holder folds all batches."""
    cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_ROLLUPS + organization_id])
    (taken,) = cursor.fetchone()
    return bool(taken)


def lock_rollups(cursor: Any, organization_id: int) -> None:
    """Wait for the lock on the rollups, and hold it until the transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ROLLUPS + organization_id])
