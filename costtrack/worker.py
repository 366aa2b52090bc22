"""The heartbeat of a Celery worker. As a step of its consumer it runs only while the broker is connected."""

import logging
import time
from contextlib import suppress
from typing import Any

import redis
from celery import bootsteps
from celery.signals import task_received
from celery.worker import state

from costtrack import heartbeat

logger = logging.getLogger(__name__)

_received = float("-inf")


@task_received.connect
def _note(**_: Any) -> None:
    """Runs in the worker's main process for every message it receives, including expired ones."""
    global _received
    _received = time.monotonic()


class Heartbeat(bootsteps.StartStopStep):
    """Reports the worker's queues and current tasks every two seconds."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None
        self._started = time.monotonic()

    def start(self, parent: Any) -> None:
        self._beat(parent)
        self._timer = parent.timer.call_repeatedly(heartbeat.PERIOD_SECONDS, self._beat, (parent,))

    def stop(self, parent: Any) -> None:
        """Runs when the connection is lost or the worker ends; after a reconnect `start` runs again."""
        if self._timer is not None:
            parent.timer.cancel(self._timer)
            self._timer = None
        with suppress(redis.RedisError):
            heartbeat.worker_ends(parent.hostname)

    def _beat(self, consumer: Any) -> None:
        now = time.monotonic()
        worker = heartbeat.Worker(
            name=consumer.hostname,
            queues=sorted(consumer.app.amqp.queues.consume_from),
            slots=consumer.controller.concurrency,
            up_for=now - self._started,
            idle_for=now - max(_received, self._started),
            tasks=[
                heartbeat.RunningTask(request.name, max(0.0, time.time() - request.time_start))
                for request in list(state.active_requests)
                if request.time_start is not None
            ],
        )
        try:
            heartbeat.worker_lives(worker)
        except redis.RedisError as error:
            # The key expires, which reports the worker as missing.
            logger.warning("heartbeat could not be written", extra={"reason": type(error).__name__})
