"""Workers in processes of their own (`tests.concurrency.forked_workers`), to be started and killed at any instant."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg

from tests.database import database_url


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


def _is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


@dataclass
class Workers:
    parent: "subprocess.Popen[str]"
    alive: list[int] = field(default_factory=list)

    def start(self, ahead: timedelta = timedelta(0)) -> None:
        """One more, whose clock is ahead."""
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write(f"{ahead.total_seconds()}\n")
        self.parent.stdin.flush()
        self.alive.append(int(self.parent.stdout.readline()))

    def assert_alive(self) -> None:
        assert [process for process in self.alive if not _is_alive(process)] == [], "a worker has died"

    def kill(self) -> None:
        """SIGKILL to all of them: nothing gets a chance to finish."""
        for process in self.alive:
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: not any(map(_is_alive, self.alive)))
        self.alive.clear()


@contextmanager
def workers_of(work: str, log: Path, **environment: str) -> Iterator[Workers]:
    """Get workers ready; all are gone after the block."""
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tests.concurrency.forked_workers", work],
            env={**os.environ, "DATABASE_URL": database_url(), **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        ) as parent,
    ):
        workers = Workers(parent)
        try:
            yield workers
        finally:
            workers.kill()
            parent.kill()
