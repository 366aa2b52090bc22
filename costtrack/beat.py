"""Celery beat with a scheduler that also writes a heartbeat, stops sending frequent tasks to a queue without a worker,
and survives a clock that is set back.

`expires` alone is not enough: an expired message stays in the broker until a worker drops it.
"""

import logging
import math
import time
from contextlib import suppress
from typing import Any

import redis
from celery.apps import beat
from celery.beat import PersistentScheduler, ScheduleEntry, SchedulingError
from django.conf import settings
from django.utils.log import configure_logging

from costtrack import heartbeat

logger = logging.getLogger(__name__)

_MAX_PENDING = 100
_FREQUENT_SECONDS = 60


class Beat(beat.Beat):
    """Sends the names of tasks and does not load the tasks, which take most of the time and memory of a start."""

    def init_loader(self) -> None:
        configure_logging(settings.LOGGING_CONFIG, settings.LOGGING)


class Scheduler(PersistentScheduler):
    """Sends the tasks of `costtrack.beat_schedule`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._started = time.monotonic()
        self._beaten = float("-inf")
        self._is_unreachable = False
        super().__init__(*args, **options)

    def tick(self, *args: Any, **options: Any) -> float:
        """One round of the scheduler's loop."""
        now = time.monotonic()
        if now - self._beaten >= heartbeat.PERIOD_SECONDS:
            self._beaten = now
            with suppress(redis.RedisError):  # the key expires, which reports beat as missing
                heartbeat.beat_lives(heartbeat.Beat(now - self._started))
        self._follow_clock()
        seconds: float = super().tick(*args, **options)
        return seconds

    def sync(self) -> None:
        """Save the times of the last runs. If that fails, for example because the disk is full, the next one, minutes
        later, may succeed; without them, a restart sends what is due next."""
        try:
            super().sync()
        except OSError as error:
            logger.warning("the schedule could not be saved", extra={"reason": str(error)})

    def _follow_clock(self) -> None:
        """Let entries that ran later than now have run now. They did if the clock was set back, and would otherwise not
        be due again until it has caught up."""
        for entry in self.schedule.values():
            now = entry.default_now()
            if entry.last_run_at is not None and entry.last_run_at > now:
                entry.last_run_at = now
                self._heap = None  # it is ordered by the old times

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send a message that is due, unless its task is frequent and its queue already holds `_MAX_PENDING`
        messages. An outage of the broker is two lines in the log, its beginning and its end, because several tasks are
        due every second."""
        if self._is_pointless(entry):
            return
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as error:
            if not self._is_unreachable:
                logger.warning("scheduled tasks cannot be sent", extra={"reason": str(error)})
            self._is_unreachable = True
            return
        if self._is_unreachable:
            logger.warning("scheduled tasks are sent again")
        self._is_unreachable = False

    def _is_pointless(self, entry: ScheduleEntry) -> bool:
        options = dict(entry.options or {})
        if options.get("expires", math.inf) > _FREQUENT_SECONDS:
            return False
        queue = self.app.amqp.router.route(options, str(entry.task))["queue"].name
        try:
            return heartbeat.queue_length(queue) >= _MAX_PENDING
        except redis.RedisError:
            return False  # sending reports the error
