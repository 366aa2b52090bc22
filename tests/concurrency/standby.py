"""A standby of the tests' PostgreSQL, which replays its write-ahead log and serves reads."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psycopg
from django.db import connection
from psycopg.conninfo import make_conninfo

from costtrack import embedded

# Standbys need at least as much of these as the primary.
_AT_LEAST = ("max_connections", "max_worker_processes", "max_wal_senders")


class Standby:
    """A running standby, as a context manager."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ct-standby-"))
        self._folder.chmod(0o755)
        parameters = connection.get_connection_params()
        self._database = str(parameters["dbname"])
        self._primary = make_conninfo(
            **{name: parameters[name] for name in ("host", "port", "user", "password") if name in parameters}
        )
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(_AT_LEAST)])
            settings = dict(cursor.fetchall())
        self._server = embedded.Postgres(
            self._folder, {**settings, "fsync": "off", "shared_buffers": "32MB", "primary_conninfo": self._primary}
        )

    @property
    def url(self) -> str:
        """As the user of the tests, who may also pause the replay."""
        host = quote(str(self._server.sockets), safe="")
        user = connection.get_connection_params().get("user", "postgres")
        return f"postgresql://{user}@/{self._database}?host={host}&port=5432"

    def __enter__(self) -> Self:
        command = [str(self._server.program("pg_basebackup")), "--dbname", self._primary]
        subprocess.run(
            [*command, "--pgdata", str(self._server.pgdata), "--checkpoint=fast", "--no-sync", "--no-manifest"],
            check=True,
        )
        (self._server.pgdata / "standby.signal").touch()
        self._server.give(self._server.pgdata)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        embedded.remove_sockets(self._folder)
        shutil.rmtree(self._folder)

    def start(self, seconds: float = 60) -> None:
        """Return when it serves reads."""
        log = self._folder / "standby.log"
        process = self._server.start(log)
        deadline = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url).close()
            except psycopg.OperationalError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """Without a shutdown of any kind."""
        if self._server.process is not None:
            self._server.process.kill()
            self._server.process.wait()

    def execute(self, statement: str) -> Any:
        """Return the value that a statement selects, or the last of several, which are one transaction."""
        with psycopg.connect(self.url, autocommit=True) as database:
            cursor = database.execute(statement)
            while cursor.nextset():
                pass
            row = cursor.fetchone()
        return row[0] if row is not None else None

    def wait_for(self, position: int, seconds: float = 30) -> None:
        """Return when it shows what was written up to a position."""
        deadline = time.monotonic() + seconds
        while self.execute("SELECT pg_last_wal_replay_lsn() - '0/0'") < position:
            assert time.monotonic() < deadline, "the standby does not follow"
            time.sleep(0.02)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It shows nothing that is written until the block ends."""
        self.execute("SELECT pg_wal_replay_pause()")
        while self.execute("SELECT pg_get_wal_replay_pause_state()") != "paused":
            time.sleep(0.01)
        try:
            yield
        finally:
            self.execute("SELECT pg_wal_replay_resume()")
