"""Decide where the reads of a request go: to the replica, if it shows what the caller has written last and is not too
far behind, otherwise to the primary.

Before each decision the process notes the primary's position in the write-ahead log with the time. So whatever position
the replica has reached, the process knows a time up to which it is complete, by its own clock. Inside `reads` that time
is now (`costtrack.clock`), and with it `as_of`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.db import Error
from django.http import Http404

from costtrack.breaker import Breaker
from costtrack.clock import reading_as_of, utc_now
from costtrack.database.replica import (
    connected_to_replica,
    is_configured,
    read_replayed_position,
    read_written_position,
)
from costtrack.errors import NotFoundError
from costtrack.metrics.instruments import REPLICA_READS
from costtrack.replica.last_writes import UnknownWritesError, last_write
from costtrack.timeouts import is_query_timeout

_CATCH_UP_SECONDS = 0.03
"""How long a read waits for the replica if the process knows no earlier position."""
_CHECK_SECONDS = 0.005
_NEXT_WAIT_SECONDS = 1.0
"""After a wait without success, reads do not wait for this long."""


class Outcome(StrEnum):
    """Where a request reads: from the replica, or from the primary and why."""

    REPLICA = "replica"
    OWN_WRITE = "own_write"
    """The replica does not show the caller's last write yet."""
    UNKNOWN_WRITE = "unknown_write"
    """Redis does not say what the caller has written last."""
    LAGGING = "lagging"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    """It began at the replica, which failed, canceled a query, or lacks a row."""


class ReplicaFailedError(Exception):
    """What was read from the replica is unusable. Read it again, from the primary."""


class Positions:
    """The newest positions of the primary with their times, in their order. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: list[tuple[int, datetime]] = []
        self._may_wait_at = 0.0

    def note(self, position: int, at: datetime) -> None:
        """Note that everything that was committed before `at` is before `position`."""
        oldest = at - timedelta(seconds=settings.REPLICA_MAX_LAG)
        with self._lock:
            earlier = [noted for noted in self._noted if noted[0] < position and noted[1] >= oldest]
            self._noted = [*earlier, (position, at)]

    def complete_until(self, replayed: int) -> datetime | None:
        """Return the latest time before which everything is in the log up to `replayed`. None: it is not known, or too
        long ago."""
        with self._lock:
            reached = [noted for noted in self._noted if noted[0] <= replayed]
            # The replica does not go back, so only the last of these is needed.
            self._noted = [*reached[-1:], *self._noted[len(reached) :]]
        return reached[-1][1] if reached else None

    def may_wait(self) -> bool:
        """Whether it is worthwhile to wait for the replica."""
        return time.monotonic() >= self._may_wait_at

    def do_not_wait(self, seconds: float) -> None:
        self._may_wait_at = time.monotonic() + seconds


positions = Positions()
"""Of this process."""
breaker = Breaker("read replica")
_is_reading: ContextVar[bool] = ContextVar("costtrack_reads_replica", default=False)


@contextmanager
def reads(caller: str) -> Iterator[bool]:
    """Run the reads of a request of this caller, on the replica if possible. Open the tenant scope inside. Yields
    whether it is the replica.

    Raises ReplicaFailedError for an error of the replica, and for a row that it does not have and the primary may have.
    """
    if not is_configured() or _is_reading.get():
        yield _is_reading.get()
        return
    outcome, as_of = _choose(caller)
    REPLICA_READS.labels(outcome).inc()
    if as_of is None:
        yield False
        return
    token = _is_reading.set(True)
    try:
        with connected_to_replica(), reading_as_of(as_of):
            yield True
    except (Error, NotFoundError, Http404) as error:
        if is_query_timeout(error):
            raise
        REPLICA_READS.labels(Outcome.FAILED).inc()
        raise ReplicaFailedError from error
    finally:
        _is_reading.reset(token)


def _choose(caller: str) -> tuple[Outcome, datetime | None]:
    """Return where to read, and the time of the replica if it is there."""
    try:
        needed = last_write(caller)
    except UnknownWritesError:
        return Outcome.UNKNOWN_WRITE, None
    if not breaker.may_try():
        return Outcome.UNAVAILABLE, None
    now = utc_now()  # before the position is read, so that it has all commits of earlier times
    positions.note(read_written_position(), now)
    try:
        with connected_to_replica():
            replayed, as_of = _examine(needed)
    except Error as error:
        breaker.failed(error)
        return Outcome.UNAVAILABLE, None
    breaker.worked()
    if replayed < needed:
        return Outcome.OWN_WRITE, None
    return (Outcome.REPLICA, as_of) if as_of is not None else (Outcome.LAGGING, None)


def _examine(needed: int) -> tuple[int, datetime | None]:
    """Return the position of the replica, and until when it is complete (None: not known, or too long ago).

    A process that knows no earlier position, as in a quiet hour, waits a moment for the one that it has just noted.
    """
    deadline = time.monotonic() + (_CATCH_UP_SECONDS if positions.may_wait() else 0)
    while True:
        replayed = read_replayed_position()
        as_of = positions.complete_until(replayed)
        if as_of is not None or replayed < needed:
            return replayed, as_of
        if time.monotonic() >= deadline:
            positions.do_not_wait(_NEXT_WAIT_SECONDS)
            return replayed, None
        time.sleep(_CHECK_SECONDS)
