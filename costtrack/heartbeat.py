"""The workers' heartbeat: a Redis key that expires, which /readyz looks for."""

from functools import lru_cache
from typing import Any

import redis
from celery.signals import heartbeat_sent, worker_ready, worker_shutdown
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

KEY = "costtrack:worker-heartbeat"
# Workers beat every two seconds; a busy machine may miss some.
_LIFETIME_SECONDS = 20


@lru_cache(maxsize=1)
def client() -> redis.Redis:
    """A client that answers or fails within about a second, and never tries twice."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
    )


def is_alive() -> bool:
    """Whether any worker has beaten lately. Raises redis.RedisError."""
    return bool(client().exists(KEY))


@worker_ready.connect
@heartbeat_sent.connect
def beat(**_: Any) -> None:
    try:
        client().set(KEY, "1", ex=_LIFETIME_SECONDS)
    except redis.RedisError:
        # The worker tries to reach its broker again on its own; the key is missing meanwhile, as it should be.
        return


@worker_shutdown.connect
def end(**_: Any) -> None:
    """A worker that stops in order says so; another one's next beat brings the key back."""
    try:
        client().delete(KEY)
    except redis.RedisError:
        return
