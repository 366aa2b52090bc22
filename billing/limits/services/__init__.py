"""Writes: limits, and what holds instead of them for a while. Each function is one change, in one transaction, with its
entry in the audit log, and holds for the very next call in every process (`billing.limits.cache`).

Whoever calls has already checked that the actor may change limits at all. What depends on the plan is checked here: the
plan's maximum, and what only operators may do with the limit that a plan brings along.
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
