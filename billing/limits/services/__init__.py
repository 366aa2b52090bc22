"""Change limits and their exceptions.

Each function makes one change in one transaction, writes it to the audit log, and takes effect with the next call in
every process (`billing.limits.cache`). The caller must have checked that the actor may change limits. Rules that depend
on the plan are checked here: its maximum, and what only operators may do with the plan's own limit.
"""

from billing.limits.services.exceptions import end_exception, end_pause, open_limit, pause_limit, raise_limit
from billing.limits.services.limits import MAX_LIMITS, change_limit, check_plan_has_api, create_limit, remove_limit

__all__ = [
    "MAX_LIMITS",
    "change_limit",
    "check_plan_has_api",
    "create_limit",
    "end_exception",
    "end_pause",
    "open_limit",
    "pause_limit",
    "raise_limit",
    "remove_limit",
]
