"""Retries while the server is busy or unavailable. Only for idempotent requests."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from costtrack.client.errors import CannotConnectError
from costtrack.client.transport import Answer

_PASSING = frozenset({429, 502, 503, 504})
_MAX_PAUSE = 60.0
_PAUSE_STEP_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Retrying:
    """`pause` sleeps for some seconds; `say` reports the reason of each retry."""

    retries: int
    pause: Callable[[float], None]
    say: Callable[[str], None]

    def call(self, attempt: Callable[[], Answer]) -> Answer:
        """Return the first final response, or the last one. Raises CannotConnectError."""
        for retry in range(self.retries):
            pause = min(2.0**retry, _MAX_PAUSE)
            try:
                answer = attempt()
            except CannotConnectError as error:
                if error.is_final:
                    raise
                reason = str(error)
            else:
                if answer.status not in _PASSING:
                    return answer
                reason = f"the server is busy (HTTP {answer.status})"
                pause = _retry_after_seconds(answer.header("Retry-After"), pause)
            self.say(f"{reason}; next attempt in {pause:g} s ({retry + 1} of {self.retries})")
            self.pause(pause)
        return attempt()


def pause(seconds: float) -> None:
    """Sleep in short steps. If Ctrl-C arrives just before a sleep begins, Python handles it only after that sleep, and
    a server may request minutes."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _PAUSE_STEP_SECONDS))


def _retry_after_seconds(header: str, otherwise: float) -> float:
    """`Retry-After` in seconds; it is a number or a date."""
    if header.isdecimal():
        return float(header[:9])
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return otherwise
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, round((until - datetime.now(UTC)).total_seconds()))
