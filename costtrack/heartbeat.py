"""Heartbeats of the background processes, in Redis.

Workers and beat refresh an expiring key every two seconds, so a process that dies or loses its broker soon disappears.
The probe task (`costtrack.tasks.tick`) records when a message of each queue was last executed. `read` takes two round
trips. Times are durations, or by Redis' clock, because the clocks of machines differ.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from costtrack.queues import Queue

PERIOD_SECONDS = 2.0
# Long enough for a busy machine to miss some beats.
LIFETIME_SECONDS = 20

_WORKERS = "costtrack:workers"  # a set of names; each worker has its own key
_WORKER = "costtrack:worker:"
_BEAT = "costtrack:beat"
_TICK = "costtrack:tick:"


class RunningTask(msgspec.Struct, frozen=True):
    """A task that a worker is executing, and for how many seconds."""

    name: str
    seconds: float


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A live Celery worker. Durations are in seconds, as of its last heartbeat."""

    name: str
    queues: list[str]
    slots: int
    up_for: float
    idle_for: float
    """Since its last message."""
    tasks: list[RunningTask]


class Beat(msgspec.Struct, frozen=True):
    """The scheduler, and for how many seconds it has been running."""

    up_for: float


@dataclass(frozen=True, slots=True)
class HeartbeatSnapshot:
    """All heartbeats at one instant. `ticks` are seconds since the last probe of each queue, if there was one;
    `pending` counts the messages of each queue that no worker has taken."""

    workers: list[Worker]
    beat: Beat | None
    ticks: dict[str, float]
    pending: dict[str, int]


@cache
def client(timeout: float = 1) -> redis.Redis:
    """Return a client that responds or fails within about `timeout` seconds, without retries. Thread-safe; it pools
    connections."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def worker_lives(worker: Worker) -> None:
    """Write the heartbeat of a worker. Raises redis.RedisError, as all functions here do."""
    with client().pipeline(transaction=False) as pipeline:
        pipeline.set(_WORKER + worker.name, msgspec.json.encode(worker), ex=LIFETIME_SECONDS)
        pipeline.sadd(_WORKERS, worker.name)
        pipeline.execute()


def worker_ends(name: str) -> None:
    """Remove a worker that shuts down cleanly."""
    with client().pipeline(transaction=False) as pipeline:
        pipeline.delete(_WORKER + name)
        pipeline.srem(_WORKERS, name)
        pipeline.execute()


def beat_lives(beat: Beat) -> None:
    """Write the heartbeat of the scheduler."""
    client().set(_BEAT, msgspec.json.encode(beat), ex=LIFETIME_SECONDS)


def ticked(queue: str) -> None:
    """Record that a message of this queue has just been executed."""
    client().set(_TICK + queue, _now(client().time()))


def queue_length(queue: str) -> int:
    """Count the pending messages of a queue. (Celery stores each queue as a Redis list of that name.)"""
    return int(client().llen(queue))


def is_full(info: Mapping[str, Any]) -> bool:
    """Whether Redis refuses writes, by the reply to INFO: its memory or its disk is full."""
    return _has_full_memory(info) or has_full_disk(info)


def _has_full_memory(info: Mapping[str, Any]) -> bool:
    """Whether it has reached its limit. (With another policy than noeviction it drops keys.)"""
    limit = info.get("maxmemory", 0)
    return 0 < limit <= info["used_memory"] and info.get("maxmemory_policy") == "noeviction"


def has_full_disk(info: Mapping[str, Any]) -> bool:
    """Whether the last write to its append-only file has failed; it tries again every second."""
    return info.get("aof_last_write_status") == "err"


def read() -> HeartbeatSnapshot:
    """Read all heartbeats. Raises redis.ResponseError if Redis is full, because nothing is then written to it."""
    queues = [queue.value for queue in Queue]
    names = sorted(map(str, client().smembers(_WORKERS)))
    keys = [_BEAT, *(_WORKER + name for name in names)]
    with client().pipeline(transaction=False) as pipeline:
        pipeline.info("memory")
        pipeline.info("persistence")
        pipeline.time()
        pipeline.mget(keys)
        pipeline.mget([_TICK + queue for queue in queues])
        for key in keys:
            pipeline.pttl(key)
        for queue in queues:
            pipeline.llen(queue)
        memory, persistence, time, stored, ticks, *numbers = pipeline.execute()
    if is_full({**memory, **persistence}):
        raise redis.ResponseError("Redis is full.")
    # After Redis' clock was set back, keys of before last longer than they should, and times are later than now.
    beat, *workers = (
        value if left_ms <= LIFETIME_SECONDS * 1000 else None for value, left_ms in zip(stored, numbers, strict=False)
    )
    now = _now(time)
    _forget(name for name, worker in zip(names, workers, strict=True) if worker is None)
    return HeartbeatSnapshot(
        workers=[msgspec.json.decode(worker, type=Worker) for worker in workers if worker is not None],
        beat=msgspec.json.decode(beat, type=Beat) if beat is not None else None,
        ticks={
            queue: now - float(tick)
            for queue, tick in zip(queues, ticks, strict=True)
            if tick is not None and float(tick) <= now
        },
        pending=dict(zip(queues, numbers[len(keys) :], strict=True)),
    )


def _forget(names: Iterable[str]) -> None:
    """Remove workers without a heartbeat."""
    gone = list(names)
    if gone:
        client().srem(_WORKERS, *gone)


def _now(time: tuple[int, int]) -> float:
    """Convert Redis' clock to seconds since 1970."""
    seconds, microseconds = time
    return seconds + microseconds / 1e6
