"""Enqueue Celery tasks on commit. The work itself is a row in the database; a task only makes it happen sooner."""

import logging
import time
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


_marked_until: dict[str, float] = {}
"""The expiry of known marks in Redis, on the monotonic clock. Until then no request to Redis is needed."""
_MAX_REMEMBERED = 1024


def forget_marks() -> None:
    """Ask Redis again, for tests that have emptied it."""
    _marked_until.clear()


def _enqueue(
    task_name: str, arguments: dict[str, int | str], interval: timedelta, delay: timedelta = timedelta()
) -> None:
    key = ":".join(["costtrack:enqueued", task_name, *map(str, arguments.values())])
    if time.monotonic() < _marked_until.get(key, 0):
        return
    try:
        is_first = _mark(key, interval)
    except redis.RedisError:
        logger.warning("task could not be queued", extra={"task": task_name})
        return
    if is_first:
        _send(task_name, arguments, delay)


def _mark(key: str, interval: timedelta) -> bool:
    """Set a mark for the interval, and return whether there was none. A mark that lasts longer was set before Redis'
    clock went back, and counts as none."""
    interval_ms = round(interval.total_seconds() * 1000)
    with heartbeat.client().pipeline(transaction=False) as pipeline:
        pipeline.set(key, "1", px=interval, nx=True)
        pipeline.pttl(key)
        is_first, left_ms = pipeline.execute()
    if left_ms > interval_ms:
        is_first, left_ms = heartbeat.client().set(key, "1", px=interval), interval_ms
    if len(_marked_until) >= _MAX_REMEMBERED:
        _marked_until.clear()
    _marked_until[key] = time.monotonic() + max(left_ms, 0) / 1000
    return bool(is_first)


def _send(task_name: str, arguments: dict[str, int | str], delay: timedelta = timedelta()) -> None:
    try:
        app.send_task(task_name, kwargs=arguments, countdown=delay.total_seconds() or None, retry=False)
    except OperationalError:
        logger.warning("task could not be queued", extra={"task": task_name})
