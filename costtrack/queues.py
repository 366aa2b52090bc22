"""The queue of each task, and the time limit of each queue. `costtrack.settings` configures Celery with them.

Do not import Celery or Django here: the supervisor imports this module too.
"""

from enum import StrEnum


class Queue(StrEnum):
    """A kind of background work. Short and long tasks never share a queue."""

    INTAKE = "intake"
    """Deferred work of the intake: pricing unpriced events, creating tables for the coming months, files, providers'
    bills."""
    ROLLUPS = "rollups"
    """Folding, which takes seconds. It has its own worker, so that totals stay fresh."""
    LIMITS = "limits"
    """Enforcing spend limits: warnings, pauses and their end. Takes seconds, and must not wait behind longer tasks."""
    MAINTENANCE = "maintenance"
    """Long tasks: rebuilding and verifying rollups, dropping old events, repricing."""
    NOTIFICATIONS = "notifications"
    """Emails and webhooks."""
    EXPORTS = "exports"
    """Files that a user is waiting for."""


TICK = "costtrack.tick"
"""The probe that beat sends to every queue (`costtrack.beat_schedule`)."""

TASKS: dict[str, Queue] = {
    TICK: Queue.MAINTENANCE,
    "billing.fold": Queue.ROLLUPS,
    "billing.enforce_limits": Queue.LIMITS,
    "billing.expire_authorizations": Queue.LIMITS,
    "billing.price_unpriced": Queue.INTAKE,
    "billing.prepare_partitions": Queue.INTAKE,
    "billing.process_upload": Queue.INTAKE,
    "billing.delete_old_uploads": Queue.INTAKE,
    "billing.fetch_bills": Queue.INTAKE,
    "billing.run_export": Queue.EXPORTS,
    "billing.delete_old_exports": Queue.EXPORTS,
    "billing.reprice": Queue.MAINTENANCE,
    "billing.rebuild_rollups": Queue.MAINTENANCE,
    "billing.verify_rollups": Queue.MAINTENANCE,
    "billing.pack_rollups": Queue.MAINTENANCE,
    "billing.retain": Queue.MAINTENANCE,
    "billing.check_archive": Queue.MAINTENANCE,
    "billing.verify_limits": Queue.MAINTENANCE,
    "billing.back_test_forecasts": Queue.MAINTENANCE,
    "billing.detect_anomalies": Queue.MAINTENANCE,
    "billing.delete_organizations": Queue.MAINTENANCE,
    "billing.notify_usage_issues": Queue.NOTIFICATIONS,
    "billing.send_reports": Queue.MAINTENANCE,
    "billing.deliver_email": Queue.NOTIFICATIONS,
    "billing.deliver_webhooks": Queue.NOTIFICATIONS,
    "organizations.deliver_email": Queue.NOTIFICATIONS,
}
"""Every task by its name. A task that is not listed cannot be sent: it has no queue."""

ROUTINE_TASKS = frozenset(
    {
        *(TICK, "billing.fold", "billing.enforce_limits", "billing.expire_authorizations"),
        *(
            "billing.deliver_email",
            "billing.deliver_webhooks",
            "billing.notify_usage_issues",
            "organizations.deliver_email",
        ),
    }
)
"""Tasks that run every few seconds; they are logged only if they fail."""

TIME_LIMITS: dict[Queue, int] = {
    Queue.INTAKE: 300,
    Queue.ROLLUPS: 120,
    Queue.LIMITS: 300,
    Queue.MAINTENANCE: 3000,
    Queue.NOTIFICATIONS: 120,
    Queue.EXPORTS: 1800,
}
"""Seconds after which a task is killed. It gets a soft time limit `GRACE_SECONDS` earlier."""

GRACE_SECONDS = 30

REDELIVERED_AFTER_SECONDS = 3600
"""When the broker redelivers a task that was lost with its worker; longer than any time limit."""


def time_limit_of(task: str) -> int:
    """Return the time limit of a task in seconds; for an unknown task, the largest one."""
    queue = TASKS.get(task)
    return max(TIME_LIMITS.values()) if queue is None else TIME_LIMITS[queue]


def task_routes() -> dict[str, dict[str, str]]:
    """Return Celery's `task_routes`."""
    return {task: {"queue": queue.value} for task, queue in TASKS.items()}


def task_limits() -> dict[str, dict[str, int]]:
    """Return Celery's `task_annotations`."""
    return {
        task: {"time_limit": TIME_LIMITS[queue], "soft_time_limit": TIME_LIMITS[queue] - GRACE_SECONDS}
        for task, queue in TASKS.items()
    }
