"""Celery tasks sent on commit. The work itself is a row in the database; a task only makes it happen sooner."""

import logging
from datetime import timedelta
from functools import partial

import redis
from django.db import transaction
from kombu.exceptions import OperationalError

from costtrack import heartbeat
from costtrack.celery import app

logger = logging.getLogger(__name__)


def enqueue_on_commit(task_name: str, **arguments: int | str) -> None:
    """Send the task once the transaction has committed. A broker that is down is logged, never an error: the beat
    schedule runs the same task again."""
    transaction.on_commit(partial(_send, task_name, arguments))


def enqueue_throttled_on_commit(task_name: str, *, at_most_every: timedelta) -> None:
    """The same for work that comes in quick succession: within the interval it is sent once. What is left over waits
    for the beat schedule."""
    transaction.on_commit(partial(_enqueue, task_name, {}, at_most_every))


def enqueue_debounced_on_commit(task_name: str, *, within: timedelta, **arguments: int | str) -> None:
    """The same for work that must see everything that came in the interval: the task with these arguments is sent once,
    to begin when the interval is over."""
    transaction.on_commit(partial(_enqueue, task_name, arguments, within, delay=within))


def _enqueue(
    task_name: str, arguments: dict[str, int | str], interval: timedelta, delay: timedelta = timedelta()
) -> None:
    key = ":".join(["costtrack:enqueued", task_name, *map(str, arguments.values())])
    try:
        is_first = heartbeat.client().set(key, "1", px=interval, nx=True)
    except redis.RedisError:
        logger.warning("task could not be queued", extra={"task": task_name})
        return
    if is_first:
        _send(task_name, arguments, delay)


def _send(task_name: str, arguments: dict[str, int | str], delay: timedelta = timedelta()) -> None:
    try:
        app.send_task(task_name, kwargs=arguments, countdown=delay.total_seconds() or None, retry=False)
    except OperationalError:
        logger.warning("task could not be queued", extra={"task": task_name})
