"""`costtrack backup` and `costtrack restore`: a dump of the embedded database, and a new data folder from one.

Both use the programs of the embedded server, so their version always matches. Use the programs of your own server for
an external database (docs/restore.md).
"""

import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import IO

import psycopg

from costtrack import embedded
from costtrack.embedded import EmbeddedServerError
from costtrack.supervisor import logfiles
from costtrack.supervisor.environment import command_environment, is_set
from costtrack.supervisor.folder import DataFolder, StackError
from costtrack.supervisor.interruption import Interruption
from costtrack.supervisor.manage import answers
from costtrack.supervisor.services import run_module
from costtrack.supervisor.supervise import stop_process
from costtrack.supervisor.terminal import Terminal

# For building indexes and loading tables.
_SETTINGS = {"maintenance_work_mem": "256MB", "max_wal_size": "2GB"}


def backup(data_dir: Path, file: Path) -> int:
    """Dump the database of a running data folder. Returns the exit code."""
    terminal = Terminal()
    folder = DataFolder(data_dir)
    Interruption().install()
    try:
        _refuse_own_server("pg_dump")
        _dump(folder, file)
    except KeyboardInterrupt:
        terminal.complain("the backup was interrupted; no file was written")
        return 1
    except (StackError, OSError) as error:
        terminal.complain(_in_one_line(error))
        return 1
    size = file.stat().st_size
    terminal.say(f"The backup is in {file} ({size / 1_000_000:,.1f} MB). Keep {folder.secret_key} with it.")
    return 0


def restore(data_dir: Path, file: Path) -> int:
    """Create the database of a data folder from a dump. Returns the exit code."""
    terminal = Terminal()
    folder = DataFolder(data_dir)
    Interruption().install()
    try:
        _refuse_own_server("pg_restore")
        with file.open("rb") as dump, folder.locked():
            _Restore(folder, terminal).run(dump)
    except KeyboardInterrupt:
        terminal.complain("the restore was interrupted; nothing was restored")
        return 1
    except (StackError, EmbeddedServerError, OSError) as error:
        terminal.complain(_in_one_line(error))
        return 1
    terminal.say(f"Restored into {data_dir}. Next: costtrack up --data-dir {data_dir}")
    if not folder.secret_key.exists() and not is_set("COSTTRACK_SECRET_KEY"):
        terminal.say(f"First copy the old secret.key to {folder.secret_key}; otherwise all API keys are invalid.")
    return 0


def _in_one_line(error: Exception) -> str:
    """Return the message of an error, for a file without the number that the system gives it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _refuse_own_server(program: str) -> None:
    if is_set("DATABASE_URL"):
        raise StackError(f"DATABASE_URL is set: use the {program} of that server (docs/restore.md)")


def _server(data_dir: Path) -> embedded.Postgres:
    try:
        return embedded.Postgres(data_dir, _SETTINGS)
    except ImportError as error:
        raise StackError(
            f"the embedded servers are not installed ({error.name}): install costtrack[embedded]"
        ) from error


def _dump(folder: DataFolder, file: Path) -> None:
    """Write the dump, readable only by its owner, or no file."""
    if not answers(embedded.postgres_socket(folder.path)):
        raise StackError(f"costtrack is not running on the data folder {folder.shown}; start `costtrack up` first")
    program = _server(folder.path).program("pg_dump")
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise StackError(f"the file {file} already exists") from error
    try:
        with open(descriptor, "wb") as output:  # noqa: PTH123 - a descriptor, not a path
            _run_pg_dump([str(program), "--format=custom", "--dbname", embedded.superuser_url(folder.path)], output)
            os.fsync(descriptor)
    except BaseException:
        file.unlink()
        raise


def _run_pg_dump(arguments: list[str], output: IO[bytes]) -> None:
    finished = subprocess.run(arguments, stdout=output, stderr=subprocess.PIPE, check=False)  # noqa: S603 - our own binary
    if finished.returncode != 0:
        raise StackError(f"pg_dump failed: {finished.stderr.decode(errors='replace')}")


class _Restore:
    """Restores into a locked data folder without a database. The database is created in a separate folder and moved at
    the end, so an interrupted restore leaves nothing half done."""

    def __init__(self, folder: DataFolder, terminal: Terminal) -> None:
        self._folder = folder
        self._terminal = terminal
        self._unfinished = folder.path / "restore.new"
        self._server = _server(self._unfinished)

    def run(self, dump: IO[bytes]) -> None:
        if self._folder.database.exists():
            raise StackError(f"the data folder {self._folder.shown} has a database already: restore into a new one")
        self._remove_unfinished()
        try:
            self._make(dump)
            self._server.pgdata.rename(self._folder.database)
            for line in self._server.notices:
                self._terminal.say(line)
        finally:
            self._remove_unfinished()

    @property
    def _owner_url(self) -> str:
        return embedded.postgres_url(self._unfinished)

    def _make(self, dump: IO[bytes]) -> None:
        with self._terminal.step(f"PostgreSQL {self._server.version}"):
            process = self._server.start(self._folder.log("postgresql"))
        try:
            self._server.wait_until_ready()
            with self._terminal.step("Loading the dump"):
                self._load(dump)
            with self._terminal.step("Roles and policies"):
                self._repair()
        finally:
            embedded.stop(process, seconds=60)

    def _load(self, dump: IO[bytes]) -> None:
        """Load it as the owner of the database. `repair_roles` grants the privileges of tenants: grants in the dump may
        refer to users of another server. A dump has no statistics, and later migrations need them."""
        with psycopg.connect(self._server.url(), autocommit=True) as connection:
            arguments = ["--exit-on-error", "--no-owner", "--no-privileges", "--dbname", self._owner_url]
            finished = subprocess.run(  # noqa: S603 - our own binary, no shell
                [str(self._server.program("pg_restore")), *arguments],
                stdin=dump,
                stderr=subprocess.PIPE,
                check=False,
            )
            if finished.returncode != 0:
                raise StackError(f"pg_restore failed: {finished.stderr.decode(errors='replace')}")
            connection.execute("ANALYZE")

    def _repair(self) -> None:
        log = self._folder.log("setup")
        since = logfiles.size(log)
        environment = {**command_environment(self._folder), "DATABASE_URL": self._owner_url}
        # The settings require a key, but this command does not use it.
        environment.pop("COSTTRACK_SECRET_KEY_FILE", None)
        environment["COSTTRACK_SECRET_KEY"] = secrets.token_urlsafe(50)
        process = run_module(["django", "repair_roles"], environment, log)
        try:
            process.wait()
        finally:
            stop_process(process, signal.SIGTERM, patience=5)
        if process.returncode != 0:
            raise StackError(f"repair_roles failed: {logfiles.problem(log, since)} (see {log})")

    def _remove_unfinished(self) -> None:
        embedded.remove_sockets(self._unfinished)
        shutil.rmtree(self._unfinished, ignore_errors=True)
