"""The faults of `benchmarks.chaos`: processes that die or stop, a disk that is full, a clock that jumps."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import psycopg

from benchmarks.installation import RETRY_SECONDS, SECONDS_TO_RECOVER, Installation
from benchmarks.moved_clock import MovedClock
from benchmarks.report import say
from benchmarks.small_disk import SmallDisk
from costtrack.embedded import superuser_url

_ANSWERS_BETWEEN_FAULTS = 15
"""However slow the machine is, clients get on: the next fault waits for this many answers, but not longer than for the
time in which costtrack must recover."""
_MAX_SECONDS_STOPPED = 3.0
_SECONDS_FULL = (3.0, 12.0)
_MAX_LOG_FILES = 200
"""More than PostgreSQL has prepared."""
_MAX_SECONDS_MOVED = 3_300.0
"""The clock is at most this far from the real one, in either direction. Clients have the real one, and the time of an
event may be up to an hour ahead."""
_MAX_FAILURES = 3
"""A kind of fault that fails this often, and never succeeds, is an error of this module."""

DISK_FULL = "disk full"
_CRASHES = ("PostgreSQL", DISK_FULL)
"""The kinds after which PostgreSQL may have to recover."""


@dataclass(frozen=True)
class Fault:
    kind: str
    began: float
    ended: float
    """Both on the monotonic clock. Most faults last a moment."""

    @property
    def may_crash_database(self) -> bool:
        return self.kind.startswith(_CRASHES)


@dataclass
class Faults:
    """Causes faults of all kinds in turn, in an order that the seed determines. `answers` is how many requests were
    answered."""

    stack: Installation
    chance: random.Random
    answers: Callable[[], int]
    disk: SmallDisk | None
    clock: MovedClock | None
    over: threading.Event = field(default_factory=threading.Event)
    happened: list[Fault] = field(default_factory=list)

    def cause(self, seconds_between: tuple[float, float]) -> None:
        """Cause faults until it is over."""
        kinds = self._kinds()
        order: list[str] = []
        failed: Counter[str] = Counter()
        while not self.over.wait(self.chance.uniform(*seconds_between)):
            self._await_answers()
            order = order or self.chance.sample(sorted(kinds), len(kinds))
            kind = order.pop()
            began = time.monotonic()
            try:
                kinds[kind]()
            except (psutil.Error, OSError, ValueError, IndexError) as error:
                # A service that has just died has no process, or no file of its id; another fault comes next.
                failed[kind] += 1
                if failed[kind] >= _MAX_FAILURES and all(fault.kind != kind for fault in self.happened):
                    raise RuntimeError(f"{kind}: not possible") from error
            else:
                self.happened.append(Fault(kind, began, time.monotonic()))
                say(f"chaos: {kind}, after {self.answers():,} answers")

    def _kinds(self) -> dict[str, Callable[[], None]]:
        kinds = {**self._deaths(), "web server stopped for seconds": self._stop_web_server}
        if self.disk is not None:
            kinds[DISK_FULL] = self._fill_disk
        if self.clock is not None:
            kinds |= {
                "clock moved forward": lambda: self._move_clock(1),
                "clock moved back": lambda: self._move_clock(-1),
            }
        return kinds

    def _deaths(self) -> dict[str, Callable[[], None]]:
        service = self.stack.service
        return {
            "web server killed": lambda: service("web").kill(),
            "web process killed": lambda: self._child("web").kill(),
            "worker killed": lambda: service(self._worker()).kill(),
            "worker process killed": lambda: self._child(self._worker()).kill(),
            "scheduler killed": lambda: service("beat").kill(),
            "Redis killed": lambda: service("redis").kill(),
            "PostgreSQL killed": lambda: service("postgresql").kill(),
            "PostgreSQL backend killed": lambda: self._child("postgresql").kill(),
        }

    def _worker(self) -> str:
        return self.chance.choice(("worker", "worker-rollups", "worker-limits"))

    def _child(self, service: str) -> psutil.Process:
        return self.chance.choice(self.stack.service(service).children(recursive=True))

    def _stop_web_server(self) -> None:
        server = self.stack.service("web")
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.suspend()
        time.sleep(self.chance.uniform(0.5, _MAX_SECONDS_STOPPED))
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def _fill_disk(self) -> None:
        """Keep the disk full for some seconds, also when costtrack removes a file. Mostly something else happens then:
        PostgreSQL has no space for its write-ahead log, or a process dies and has to start on the full disk."""
        assert self.disk is not None
        death = self.chance.choice(list(self._deaths().values()))
        further = self.chance.choice((None, death, self._use_up_log))
        ends = time.monotonic() + self.chance.uniform(*_SECONDS_FULL)
        try:
            self.disk.fill()
            if further is not None:
                with suppress(psutil.Error, OSError, ValueError, IndexError, psycopg.Error):
                    further()
            while time.monotonic() < ends:
                self.disk.fill()
                time.sleep(RETRY_SECONDS)
        finally:
            self.disk.free()

    def _use_up_log(self) -> None:
        with psycopg.connect(superuser_url(self.stack.data), autocommit=True) as database:
            for _ in range(_MAX_LOG_FILES):
                database.execute("SELECT pg_logical_emit_message(false, 'chaos', ''), pg_switch_wal()")

    def _move_clock(self, direction: int) -> None:
        """Move the clock by seconds as often as by up to an hour."""
        assert self.clock is not None
        furthest = self.chance.choice((10.0, 300.0, _MAX_SECONDS_MOVED))
        self.clock.move_to(direction * self.chance.uniform(0, furthest))

    def _await_answers(self) -> None:
        enough, deadline = self.answers() + _ANSWERS_BETWEEN_FAULTS, time.monotonic() + SECONDS_TO_RECOVER
        while self.answers() < enough and time.monotonic() < deadline and not self.over.wait(RETRY_SECONDS):
            pass
