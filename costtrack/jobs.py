"""Nudging the workers. Work that must happen is a row in the database; a nudge only makes it happen sooner."""

import logging
from functools import partial

from django.db import transaction
from kombu.exceptions import OperationalError

from costtrack.celery import app

logger = logging.getLogger(__name__)


def enqueue_on_commit(task_name: str, **arguments: int | str) -> None:
    """Send the task once the transaction has committed. A broker that is down is logged, never an error: the beat
    schedule runs the same task again."""
    transaction.on_commit(partial(_send, task_name, arguments))


def _send(task_name: str, arguments: dict[str, int | str]) -> None:
    try:
        app.send_task(task_name, kwargs=arguments, retry=False)
    except OperationalError:
        logger.warning("task could not be queued", extra={"task": task_name})
