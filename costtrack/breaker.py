"""Leaving a server alone for a while after it has failed, so that not every request waits for its timeout."""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0


class Breaker:
    """For one server, or one use of it, in this process. Threads share it.

        if breaker.may_try():
            try:
                ask()
            except ServerError as error:
                breaker.failed(error)
            else:
                breaker.worked()

    After a failure nobody may try for `pause_seconds`; then one caller may, and the others wait for what comes of it.
    An outage is logged once when it begins and once when it is over, whatever number of requests it meets.
    """

    def __init__(
        self, name: str, *, pause_seconds: float = PAUSE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._retry_at: float | None = None  # None: all is well

    @property
    def is_open(self) -> bool:
        """Whether the last attempt failed."""
        return self._retry_at is not None

    def may_try(self) -> bool:
        if self._retry_at is None:
            return True
        with self._lock:
            now = self._clock()
            if self._retry_at is not None:
                if now < self._retry_at:
                    return False
                self._retry_at = now + self._pause_seconds  # this caller tries; the others go on waiting
            return True

    def failed(self, error: Exception) -> None:
        with self._lock:
            is_news = self._retry_at is None
            self._retry_at = self._clock() + self._pause_seconds
        if is_news:
            logger.warning("%s: left alone after a failure", self.name, extra={"reason": type(error).__name__})

    def worked(self) -> None:
        if self._retry_at is None:
            return
        with self._lock:
            was_open, self._retry_at = self._retry_at is not None, None
        if was_open:
            logger.warning("%s: works again", self.name)
