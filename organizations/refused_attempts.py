"""Throttles clients that send wrong credentials: after too many in a minute, their credentials are not looked up.

Attempts are counted in Redis, by the address of the client together with the Client ID, and by the address alone, for
clients that try many Client IDs. Credentials that a process has verified before are not throttled, so an attacker
cannot lock out a client behind the same address. Without Redis nothing is throttled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from costtrack import heartbeat
from costtrack.breaker import Breaker
from costtrack.errors import DomainError
from organizations.rate_limits import TIMEOUT_SECONDS

WINDOW_SECONDS = 60
MAX_BY_CLIENT_ID = 300
MAX_BY_ADDRESS = 3_000

_KEY = "costtrack:refused:"

breaker = Breaker("throttle of wrong credentials")


class TooManyAttemptsError(DomainError):
    """Too many wrong credentials."""

    status = 429
    code = "too_many_attempts"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A client that presents a Client ID with a secret."""

    address: str
    client_id: str

    def check(self) -> None:
        """Raise TooManyAttemptsError if too many attempts of this client were refused in the last minute."""
        counts = _try(self._read) or ()
        limits = (MAX_BY_CLIENT_ID, MAX_BY_ADDRESS)
        if any(int(count or 0) >= limit for count, limit in zip(counts, limits, strict=False)):
            headers = {"Retry-After": str(WINDOW_SECONDS)}
            raise TooManyAttemptsError("Too many requests with wrong credentials.", headers=headers)

    def _read(self, client: redis.Redis) -> Any:
        """Return the counts. If Redis' clock was set back, they expire in a minute and not when it has caught up."""
        with client.pipeline(transaction=False) as pipeline:
            pipeline.mget(self._keys)
            for key in self._keys:
                pipeline.ttl(key)
            counts, *seconds_left = pipeline.execute()
        for key, seconds in zip(self._keys, seconds_left, strict=True):
            if seconds > WINDOW_SECONDS:
                client.expire(key, WINDOW_SECONDS)
        return counts

    def count_refusal(self) -> None:
        def count(client: redis.Redis) -> None:
            with client.pipeline(transaction=False) as pipeline:
                for key in self._keys:
                    pipeline.set(key, 0, ex=WINDOW_SECONDS, nx=True)
                    pipeline.incr(key)
                pipeline.execute()

        _try(count)

    @property
    def _keys(self) -> tuple[str, str]:
        return f"{_KEY}{self.address} {self.client_id}", f"{_KEY}{self.address}"


def _try(use: Callable[[redis.Redis], Any]) -> Any:
    """Return the result of Redis, or None if it is unavailable."""
    if not breaker.may_try():
        return None
    try:
        result = use(heartbeat.client(TIMEOUT_SECONDS))
    except redis.RedisError as error:
        breaker.failed(error)
        return None
    breaker.worked()
    return result
