"""Which queue each task goes to, and how long a task of each queue may take. `costtrack.settings` tells Celery.

Nothing of Celery or Django is imported here: the supervisor reads this too.
"""

from enum import StrEnum


class Queue(StrEnum):
    """A kind of background work. What is quick never waits in one queue with what is long."""

    INTAKE = "intake"
    """What the intake leaves to do later: pricing events that had no price, making tables for the months to come."""
    ROLLUPS = "rollups"
    """Folding, each time a matter of seconds. It has a worker of its own, so that totals stay fresh meanwhile."""
    LIMITS = "limits"
    """Watching spend limits: warnings, pauses and their end. A matter of seconds, and not behind anything long: a
    warning that comes when the money is spent is none."""
    MAINTENANCE = "maintenance"
    """Minutes: rebuilding and verifying rollups, dropping old events, pricing a period anew."""
    NOTIFICATIONS = "notifications"
    """E-mails and webhooks."""
    EXPORTS = "exports"
    """Files that somebody waits for."""


TICK = "costtrack.tick"
"""The probe that beat sends to every queue (`costtrack.beat_schedule`)."""

TASKS: dict[str, Queue] = {
    TICK: Queue.MAINTENANCE,
    "billing.fold": Queue.ROLLUPS,
    "billing.enforce_limits": Queue.LIMITS,
    "billing.expire_authorizations": Queue.LIMITS,
    "billing.price_unpriced": Queue.INTAKE,
    "billing.prepare_partitions": Queue.INTAKE,
    "billing.reprice": Queue.MAINTENANCE,
    "billing.rebuild_rollups": Queue.MAINTENANCE,
    "billing.verify_rollups": Queue.MAINTENANCE,
    "billing.retain": Queue.MAINTENANCE,
    "billing.verify_limits": Queue.MAINTENANCE,
    "billing.deliver_email": Queue.NOTIFICATIONS,
    "billing.deliver_webhooks": Queue.NOTIFICATIONS,
    "organizations.deliver_email": Queue.NOTIFICATIONS,
}
"""Every task by its name. One that is not here cannot be sent: there is no queue that it would go to."""

ROUTINE_TASKS = frozenset(
    {
        *(TICK, "billing.fold", "billing.enforce_limits", "billing.expire_authorizations"),
        *("billing.deliver_email", "billing.deliver_webhooks", "organizations.deliver_email"),
    }
)
"""Those that run every few seconds: logged only when they fail."""

TIME_LIMITS: dict[Queue, int] = {
    Queue.INTAKE: 300,
    Queue.ROLLUPS: 120,
    Queue.LIMITS: 300,
    Queue.MAINTENANCE: 3000,
    Queue.NOTIFICATIONS: 120,
    Queue.EXPORTS: 1800,
}
"""Seconds after which a task is killed. It is asked to end `GRACE_SECONDS` before."""

GRACE_SECONDS = 30

REDELIVERED_AFTER_SECONDS = 3600
"""When the broker gives a task that was lost with its worker to another one; longer than any task may take."""


def time_limit_of(task: str) -> int:
    """Seconds that a task may take; of a task that is not ours, the longest."""
    queue = TASKS.get(task)
    return max(TIME_LIMITS.values()) if queue is None else TIME_LIMITS[queue]


def task_routes() -> dict[str, dict[str, str]]:
    """Celery's `task_routes`."""
    return {task: {"queue": queue.value} for task, queue in TASKS.items()}


def task_limits() -> dict[str, dict[str, int]]:
    """Celery's `task_annotations`."""
    return {
        task: {"time_limit": TIME_LIMITS[queue], "soft_time_limit": TIME_LIMITS[queue] - GRACE_SECONDS}
        for task, queue in TASKS.items()
    }
