"""The lag of the rollups: the age of the oldest unfolded batch."""

import time
from threading import Event, Thread
from types import TracebackType
from typing import Self

import psycopg

_OLDEST = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0)::float8
FROM billing_ingestbatch WHERE folded_at IS NULL
"""
_EVERY_SECONDS = 0.1
_PATIENCE_SECONDS = 300


class LagWatch:
    """Measures the lag ten times a second while the block runs."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self._over = Event()
        self._thread = Thread(target=self._poll)
        self.seen: list[float] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._connection.close()

    def _poll(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            self.seen.append(lag(self._connection))


def lag(connection: psycopg.Connection) -> float:
    """Return the current lag in seconds."""
    row = connection.execute(_OLDEST).fetchone()
    assert row is not None
    return float(row[0])


def wait_until_folded(database_url: str) -> float:
    """Wait until the workers have folded everything, and return the seconds."""
    started = time.perf_counter()
    with psycopg.connect(database_url, autocommit=True) as connection:
        while lag(connection):
            assert time.perf_counter() - started < _PATIENCE_SECONDS, "The workers do not fold."
            time.sleep(_EVERY_SECONDS)
    return time.perf_counter() - started
