"""Enqueue Celery tasks on commit. The work itself is a row in the database; a task only makes it happen sooner."""

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
    """Send the task after the transaction commits. An unavailable broker is logged and is no error: the beat schedule
    sends the same task."""
    transaction.on_commit(partial(_send, task_name, arguments))


def enqueue_throttled_on_commit(task_name: str, *, interval: timedelta, **arguments: int | str) -> None:
    """Like `enqueue_on_commit`, but once per interval and arguments. The beat schedule picks up the rest."""
    transaction.on_commit(partial(_enqueue, task_name, arguments, interval))


def enqueue_debounced_on_commit(task_name: str, *, within: timedelta, **arguments: int | str) -> None:
    """Like `enqueue_on_commit`, but once per interval and arguments, to start when the interval is over. For tasks that
    must see everything that happened in it."""
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
