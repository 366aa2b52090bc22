"""What the background processes tell about themselves, in Redis: who is there, and what was done last.

Workers and beat write a key that expires every two seconds, so a process that dies, or loses its broker, is missing
soon. The probe task (`costtrack.tasks.tick`) notes when a queue's messages were executed last. Readers get all of it
with two round trips. All times are durations, or by Redis' own clock: machines' clocks may differ.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import msgspec
import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from costtrack.queues import Queue

PERIOD_SECONDS = 2.0
# A busy machine may miss some beats.
LIFETIME_SECONDS = 20

_WORKERS = "costtrack:workers"  # a set of names; each has a key of its own
_WORKER = "costtrack:worker:"
_BEAT = "costtrack:beat"
_TICK = "costtrack:tick:"


class RunningTask(msgspec.Struct, frozen=True):
    """A task that a worker executes, and for how many seconds it has."""

    name: str
    seconds: float


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A Celery worker that has beaten lately. Durations are in seconds, as of its last beat."""

    name: str
    queues: list[str]
    slots: int
    up_for: float
    idle_for: float
    """Since it has received its last message."""
    tasks: list[RunningTask]


class Beat(msgspec.Struct, frozen=True):
    """The scheduler, and for how many seconds it has run."""

    up_for: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """All that is known at one moment. Queues without a tick are missing in `ticks` (seconds ago); `waiting` counts
    the messages of each queue that no worker has taken."""

    workers: list[Worker]
    beat: Beat | None
    ticks: dict[str, float]
    waiting: dict[str, int]


@cache
def client(timeout: float = 1) -> redis.Redis:
    """A client that answers or fails within about `timeout` seconds, and never tries twice. Threads share it, and the
    connections it keeps open."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )


def worker_lives(worker: Worker) -> None:
    """Raises redis.RedisError, as all functions here do."""
    with client().pipeline(transaction=False) as pipeline:
        pipeline.set(_WORKER + worker.name, msgspec.json.encode(worker), ex=LIFETIME_SECONDS)
        pipeline.sadd(_WORKERS, worker.name)
        pipeline.execute()


def worker_ends(name: str) -> None:
    """A worker that stops in order says so."""
    with client().pipeline(transaction=False) as pipeline:
        pipeline.delete(_WORKER + name)
        pipeline.srem(_WORKERS, name)
        pipeline.execute()


def beat_lives(beat: Beat) -> None:
    client().set(_BEAT, msgspec.json.encode(beat), ex=LIFETIME_SECONDS)


def ticked(queue: str) -> None:
    """A message of this queue has been executed just now."""
    client().set(_TICK + queue, _now(client().time()))


def waiting_in(queue: str) -> int:
    """How many messages wait in a queue. (Celery's broker keeps each queue as a list of that name.)"""
    return int(client().llen(queue))


def read() -> Pulse:
    queues = [queue.value for queue in Queue]
    names = sorted(map(str, client().smembers(_WORKERS)))
    with client().pipeline(transaction=False) as pipeline:
        pipeline.time()
        pipeline.mget([_BEAT, *(_WORKER + name for name in names)])
        pipeline.mget([_TICK + queue for queue in queues])
        for queue in queues:
            pipeline.llen(queue)
        time, (beat, *workers), ticks, *lengths = pipeline.execute()
    _forget(name for name, worker in zip(names, workers, strict=True) if worker is None)
    return Pulse(
        workers=[msgspec.json.decode(worker, type=Worker) for worker in workers if worker is not None],
        beat=msgspec.json.decode(beat, type=Beat) if beat is not None else None,
        ticks={queue: _now(time) - float(tick) for queue, tick in zip(queues, ticks, strict=True) if tick is not None},
        waiting=dict(zip(queues, lengths, strict=True)),
    )


def _forget(names: Iterable[str]) -> None:
    """Workers that beat no more."""
    gone = list(names)
    if gone:
        client().srem(_WORKERS, *gone)


def _now(time: tuple[int, int]) -> float:
    """Redis' clock, in seconds since 1970."""
    seconds, microseconds = time
    return seconds + microseconds / 1e6
