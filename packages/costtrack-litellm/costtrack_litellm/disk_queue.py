"""The queue on disk, which survives the end of the process. SQLite, because several processes of a proxy share it."""

import fcntl
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, body TEXT NOT NULL)"
)
_LOCK_SECONDS = 30

USAGE, RELEASE = "usage", "release"


@dataclass(frozen=True)
class Item:
    id: int
    kind: str
    body: str


class DiskQueue:
    """Items in the order in which they were added. Each thread needs an instance of its own.

    Raises OSError or sqlite3.Error if the folder cannot be written, or if the queue has its maximum size.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connection = sqlite3.connect(folder / "queue.sqlite3", timeout=_LOCK_SECONDS, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A commit survives the death of the process; the death of the machine may lose the last ones.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        [page_size] = self._connection.execute("PRAGMA page_size").fetchone()
        self._connection.execute(f"PRAGMA max_page_count = {max(16, max_bytes // page_size)}")
        self._connection.execute(_SCHEMA)

    def add(self, items: Sequence[tuple[str, str]]) -> None:
        """Add (kind, body) pairs, all or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT INTO item (kind, body) VALUES (?, ?)", items)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def first(self, count: int) -> list[Item]:
        query = "SELECT id, kind, body FROM item ORDER BY id LIMIT ?"
        with closing(self._connection.execute(query, (count,))) as rows:
            return [Item(*row) for row in rows]

    def remove(self, items: Sequence[Item]) -> None:
        """Remove the first items."""
        self._connection.execute("DELETE FROM item WHERE id BETWEEN ? AND ?", (items[0].id, items[-1].id))

    def __len__(self) -> int:
        [count] = self._connection.execute("SELECT count(*) FROM item").fetchone()
        return int(count)

    def close(self) -> None:
        self._connection.close()


class SenderLock:
    """At most one process sends the items of a folder, so that they arrive in order. The lock ends with its process."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "sender.lock"
        self._file: TextIO | None = None

    def acquire(self) -> bool:
        if self._file is not None:
            return True
        file = self._path.open("w")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
