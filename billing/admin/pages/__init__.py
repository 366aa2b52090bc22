"""Pages that answer a question about one organization's costs, as no list of rows does.

Each is a class in a module of its own, below `/o/<slug>/admin/`; `base` has what they share. Importing this package
registers them.
"""

from billing.admin.pages import (
    execution,
    exports,
    front,
    getting_started,
    plan,
    pricing,
    request_log,
    run,
    runs,
    session,
    sessions,
    tags,
    usage,
    usage_export,
)

__all__ = [
    "execution",
    "exports",
    "front",
    "getting_started",
    "plan",
    "pricing",
    "request_log",
    "run",
    "runs",
    "session",
    "sessions",
    "tags",
    "usage",
    "usage_export",
]
