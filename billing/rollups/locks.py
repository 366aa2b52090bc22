"""Who may write an organization's rollups: any number of folds together, or one that computes them anew, alone.

The locks are PostgreSQL's advisory ones and end with the transaction, whatever happens to who holds them.
"""

from typing import Any

# In the upper half of the 64 bits, so that organizations' numbers do not meet other users of such locks.
_ROLLUPS = 0x524F4C << 36


def shares_rollups(cursor: Any, organization_id: int) -> bool:
    """Take part in writing the rollups; False while somebody has them alone."""
    cursor.execute("SELECT pg_try_advisory_xact_lock_shared(%s)", [_ROLLUPS + organization_id])
    (taken,) = cursor.fetchone()
    return bool(taken)


def has_rollups_alone(cursor: Any, organization_id: int) -> None:
    """Wait until nobody writes the rollups, and keep everybody else from it."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ROLLUPS + organization_id])
