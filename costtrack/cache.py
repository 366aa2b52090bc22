"""The Redis cache backend, which stores data only, and keeps counting sign-in attempts while Redis is unavailable.

Django stores pickles, so anyone with write access to Redis could run code in the web processes. Here values are
MessagePack: numbers, texts, bytes, lists, dicts and dataclasses, which are read as dicts.

Other users of the cache handle its errors themselves. django-allauth does not: it counts sign-in attempts there, and an
outage must neither lock users out nor allow unlimited guesses. During an outage its keys are stored in this process, so
the limits then apply per process.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import msgspec
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis import Redis
from redis.exceptions import RedisError

from costtrack.breaker import Breaker

SIGN_IN_KEYS = "allauth"
"""Prefix of django-allauth's cache keys."""

breaker = Breaker("sign-in limits")
"""One per process."""


class Serializer:
    def dumps(self, value: object) -> bytes:
        return msgspec.msgpack.encode(value)

    def loads(self, stored: bytes) -> Any:
        """Return the value, or None if it is not MessagePack, for example a pickle of an earlier release."""
        try:
            return msgspec.msgpack.decode(stored)
        except msgspec.DecodeError:
            return None


class Client(RedisCacheClient):
    """Uses one client of the one server. Django's makes one for each operation, which takes longer than the operation
    itself."""

    def get_client(self, key: Any = None, *, write: bool = False) -> Redis:
        return self._only

    @cached_property
    def _only(self) -> Redis:
        return super().get_client(write=True)


class Cache(RedisCache):
    def __init__(self, server: str, params: dict[str, Any]) -> None:
        params = {**params, "OPTIONS": {**params.get("OPTIONS", {}), "serializer": Serializer}}
        super().__init__(server, params)
        self._class = Client
        self._local = LocMemCache("sign-in", {})

    def add(self, key: str, value: Any, *args: Any, **kwargs: Any) -> bool:
        return bool(self._do(key, lambda cache: cache.add(key, value, *args, **kwargs)))

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        return self._do(key, lambda cache: cache.get(key, *args, **kwargs))

    def set(self, key: str, value: Any, *args: Any, **kwargs: Any) -> None:
        self._do(key, lambda cache: cache.set(key, value, *args, **kwargs))

    def delete(self, key: str, *args: Any, **kwargs: Any) -> bool:
        return bool(self._do(key, lambda cache: cache.delete(key, *args, **kwargs)))

    def _do(self, key: str, operation: Callable[[Any], Any]) -> Any:
        if not key.startswith(SIGN_IN_KEYS):
            return operation(super())
        if not breaker.may_try():
            return operation(self._local)
        try:
            answer = operation(super())
        except RedisError as error:
            breaker.failed(error)
            return operation(self._local)
        breaker.worked()
        return answer
