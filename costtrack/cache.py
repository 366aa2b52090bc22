"""The cache in Redis, which counts attempts to sign in even while Redis is away.

Everybody else who uses the cache knows what to do without it, and gets Redis' error. django-allauth does not: it counts
with it how often somebody has tried to sign in, and nobody may be locked out, or let guess without end, because a
counter is away. Its keys are kept in this process meanwhile, so limits hold for each process by itself.
"""

from collections.abc import Callable
from typing import Any

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

from costtrack.breaker import Breaker

SIGN_IN_KEYS = "allauth"
"""How the keys of django-allauth begin."""

breaker = Breaker("sign-in limits")
"""Of this process."""


class Cache(RedisCache):
    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._here = LocMemCache("sign-in", {})

    def add(self, key: str, value: Any, *args: Any, **kwargs: Any) -> bool:
        return bool(self._do(key, lambda cache: cache.add(key, value, *args, **kwargs)))

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        return self._do(key, lambda cache: cache.get(key, *args, **kwargs))

    def set(self, key: str, value: Any, *args: Any, **kwargs: Any) -> None:
        self._do(key, lambda cache: cache.set(key, value, *args, **kwargs))

    def delete(self, key: str, *args: Any, **kwargs: Any) -> bool:
        return bool(self._do(key, lambda cache: cache.delete(key, *args, **kwargs)))

    def _do(self, key: str, ask: Callable[[Any], Any]) -> Any:
        if not key.startswith(SIGN_IN_KEYS):
            return ask(super())
        if not breaker.may_try():
            return ask(self._here)
        try:
            answer = ask(super())
        except RedisError as error:
            breaker.failed(error)
            return ask(self._here)
        breaker.worked()
        return answer
