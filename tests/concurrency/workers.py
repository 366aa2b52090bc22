"""Workers in processes of their own (`tests.concurrency.work`), to be started and killed at any instant."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg

from costtrack.supervisor.forking import Process
from tests.database import database_url
from tests.preloaded import Preloaded


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def blocked_queries(count: int) -> bool:
    """Whether this many queries wait for a lock."""
    with psycopg.connect(database_url(), autocommit=True) as database:
        delayed = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return database.execute(delayed).fetchone() == (count,)


@contextmanager
def locked_ledger() -> Iterator[None]:
    """Intake waits for this lock, and so holds its threads."""
    with psycopg.connect(database_url()) as database:
        database.execute("LOCK TABLE billing_usageevent IN ACCESS EXCLUSIVE MODE")
        yield


@dataclass
class Workers:
    preloaded: Preloaded
    work: str
    log: Path
    settings: dict[str, Any]
    alive: list[Process] = field(default_factory=list)

    def start(self, ahead: timedelta = timedelta(0)) -> None:
        """One more, whose clock is ahead."""
        arguments = [self.work, str(ahead.total_seconds()), json.dumps(self.settings)]
        self.alive.append(self.preloaded.start(["tests.concurrency.work", *arguments], self.log))

    def assert_alive(self) -> None:
        assert [process for process in self.alive if process.poll() is not None] == [], self.log.read_text()

    def kill(self) -> None:
        """SIGKILL to all of them: nothing gets a chance to finish."""
        for process in self.alive:
            process.send_signal(signal.SIGKILL)
        for process in self.alive:
            process.wait(60)
        self.alive.clear()


@contextmanager
def workers_of(preloaded: Preloaded, work: str, log: Path, **settings: Any) -> Iterator[Workers]:
    """All are gone after the block."""
    workers = Workers(preloaded, work, log, settings)
    try:
        yield workers
    finally:
        workers.kill()
