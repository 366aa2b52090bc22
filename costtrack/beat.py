"""The scheduler that beat runs: Celery's own, which also tells that it lives and does not fill a queue nobody empties.

(`expires` makes workers drop a message that is too old, but it lies in the broker until one does.)
"""

import math
import time
from contextlib import suppress
from typing import Any

import redis
from celery.beat import PersistentScheduler, ScheduleEntry

from costtrack import heartbeat

_MAX_PENDING = 100
_FREQUENT_SECONDS = 60


class Scheduler(PersistentScheduler):
    """Sends what `costtrack.beat_schedule` says."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._started = time.monotonic()
        self._beaten = float("-inf")
        super().__init__(*args, **options)

    def tick(self, *args: Any, **options: Any) -> float:
        """One round of the scheduler's loop."""
        now = time.monotonic()
        if now - self._beaten >= heartbeat.PERIOD_SECONDS:
            self._beaten = now
            with suppress(redis.RedisError):  # the key expires meanwhile, as it should
                heartbeat.beat_lives(heartbeat.Beat(now - self._started))
        seconds: float = super().tick(*args, **options)
        return seconds

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send a message that is due, unless it is one of the frequent ones and plenty wait in its queue already."""
        if not self._is_pointless(entry):
            super().apply_entry(entry, producer=producer)

    def _is_pointless(self, entry: ScheduleEntry) -> bool:
        options = dict(entry.options or {})
        if options.get("expires", math.inf) > _FREQUENT_SECONDS:
            return False
        queue = self.app.amqp.router.route(options, str(entry.task))["queue"].name
        try:
            return heartbeat.waiting_in(queue) >= _MAX_PENDING
        except redis.RedisError:
            return False  # sending it will say what is wrong
