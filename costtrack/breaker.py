"""A circuit breaker: after a failure it pauses the use of a server, so that not every request waits for a timeout."""

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0


class Breaker:
    """Guards one server, or one use of it, in this process. Thread-safe.

        if breaker.may_try():
            try:
                call_server()
            except ServerError as error:
                breaker.failed(error)
            else:
                breaker.worked()

    After a failure no caller may try for `pause_seconds`. Then one caller may try, and the others wait for its result.
    An outage is logged once when it begins and once when it ends.
    """

    def __init__(
        self, name: str, *, pause_seconds: float = PAUSE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._retry_at: float | None = None  # None: closed

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
                self._retry_at = now + self._pause_seconds  # this caller tries; the others keep waiting
            return True

    def failed(self, error: Exception) -> None:
        with self._lock:
            is_news = self._retry_at is None
            self._retry_at = self._clock() + self._pause_seconds
        if is_news:
            logger.warning("%s: paused after a failure", self.name, extra={"reason": type(error).__name__})

    def worked(self) -> None:
        if self._retry_at is None:
            return
        with self._lock:
            was_open, self._retry_at = self._retry_at is not None, None
        if was_open:
            logger.warning("%s: available again", self.name)
