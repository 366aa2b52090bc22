"""`costtrack restore`: a new data folder from a backup folder, up to a point in time, or from a dump.

The restored ledger is verified, and the command says what it lacks.
"""

import json
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from costtrack import embedded
from costtrack.embedded import EmbeddedServerError
from costtrack.supervisor import base_backup, logfiles
from costtrack.supervisor.backup import embedded_server, in_one_line, refuse_own_server
from costtrack.supervisor.environment import command_environment, is_set
from costtrack.supervisor.folder import DataFolder, StackError
from costtrack.supervisor.interruption import Interruption
from costtrack.supervisor.services import run_module
from costtrack.supervisor.supervise import stop_process
from costtrack.supervisor.terminal import Terminal

# For building indexes and loading tables.
_SETTINGS = {"maintenance_work_mem": "256MB", "max_wal_size": "2GB"}
_PENDING = "Migrations are pending"
_NOT_REACHED = "recovery ended before configured recovery target was reached"

# The rows of the ledger, those that its batches promise, and those that were dropped since.
_LEDGER = """
SELECT
    (SELECT count(*) FROM billing_usageevent),
    (SELECT coalesce(sum(events), 0) FROM billing_droppedmonth),
    count(*),
    coalesce(sum(accepted), 0),
    max(received_at)
FROM billing_ingestbatch
"""


@dataclass(frozen=True)
class Options:
    """The command line of `costtrack restore`. `source` is a backup folder or a dump, `to` a time for the first."""

    data_dir: Path
    source: Path
    to: datetime | None
    verify: bool


def restore(options: Options) -> int:
    """Create the database of a data folder from a backup. Returns the exit code: 1 also if the ledger differs."""
    terminal = Terminal()
    folder = DataFolder(options.data_dir)
    Interruption().install()
    try:
        refuse_own_server()
        source = _source(options)
        with folder.locked():
            problem = _Restore(folder, terminal).run(source, verify=options.verify)
    except KeyboardInterrupt:
        terminal.complain("the restore was interrupted; nothing was restored")
        return 1
    except (StackError, EmbeddedServerError, OSError) as error:
        terminal.complain(in_one_line(error))
        return 1
    terminal.say(f"Restored into {options.data_dir}. Next: costtrack up --data-dir {options.data_dir}")
    if not folder.secret_key.exists() and not is_set("COSTTRACK_SECRET_KEY"):
        terminal.say(f"First copy the old secret.key to {folder.secret_key}; otherwise all API keys are invalid.")
    if problem:
        terminal.complain(problem)
        return 1
    return 0


class _Dump:
    """A dump by `costtrack backup` or `pg_dump --format=custom`."""

    settings: dict[str, str] = {}

    def __init__(self, file: Path) -> None:
        self._file = file
        with file.open("rb"):
            pass

    def load(self, server: embedded.Postgres, terminal: Terminal, log: Path, owner_url: str) -> None:
        """Load it as the owner of the database. `repair_roles` grants the privileges of tenants: grants in the dump may
        refer to users of another server. A dump has no statistics, and later migrations need them."""
        with terminal.step(f"PostgreSQL {server.version}"):
            server.start(log)
            server.wait_until_ready()
        with (
            terminal.step("Loading the dump"),
            self._file.open("rb") as dump,
            psycopg.connect(server.url(), autocommit=True) as connection,
        ):
            arguments = ["--exit-on-error", "--no-owner", "--no-privileges", "--dbname", owner_url]
            finished = subprocess.run(  # noqa: S603 - our own binary, no shell
                [str(server.program("pg_restore")), *arguments],
                stdin=dump,
                stderr=subprocess.PIPE,
                check=False,
            )
            if finished.returncode != 0:
                raise StackError(f"pg_restore failed: {finished.stderr.decode(errors='replace')}")
            connection.execute("ANALYZE")


class _PointInTime:
    """A base backup, and the archived log up to a time or to its end."""

    def __init__(self, target: Path, to: datetime | None) -> None:
        self._to = to
        backups = base_backup.list_base_backups(target)
        if not backups:
            raise StackError(f"{target} has no complete base backup")
        usable = [backup for backup in backups if to is None or backup.finished_at <= to]
        if not usable:
            raise StackError(f"--to: the first base backup ends at {backups[0].finished_at:%Y-%m-%d %H:%M:%S} UTC")
        self._backup = usable[-1]
        self.settings = dict(base_backup.recovery_settings(target, to))

    def load(self, server: embedded.Postgres, terminal: Terminal, log: Path, owner_url: str) -> None:
        del owner_url
        if self._backup.postgresql != server.version:
            raise StackError(
                f"the base backup is of PostgreSQL {self._backup.postgresql}, but this release has {server.version}:"
                " restore it with the old release, and move to this one by a dump"
            )
        with terminal.step(f"Base backup of {self._backup.finished_at:%Y-%m-%d %H:%M:%S} UTC"):
            base_backup.extract(self._backup, server)
        with terminal.step("Replaying the log"):
            since = logfiles.size(log)
            process = server.start(log)
            while not _accepts_connections(server):
                if process.poll() is not None:
                    raise StackError(self._why(log, since))
                time.sleep(0.1)
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            # The log of the restored database must not go to the old one's archive.
            embedded.set_archive_command(connection, embedded.DISCARD)
            row = connection.execute("SELECT pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC'").fetchone()
        last = f"The last replayed change is of {row[0]} UTC" if row and row[0] else "No change was replayed"
        terminal.say(f"{last}{'' if self._to is None else f', and the point in time {self._to.isoformat()}'}.")
        server.wait_until_ready()

    def _why(self, log: Path, since: int) -> str:
        with log.open("rb") as file:
            file.seek(since)
            text = file.read().decode(errors="replace")
        if self._to is not None and _NOT_REACHED in text:
            return f"--to: the archived log ends before {self._to.isoformat()}; without --to all of it is restored"
        return f"the log could not be replayed: {logfiles.problem(log, since)}"


def _source(options: Options) -> _Dump | _PointInTime:
    if options.source.is_dir():
        return _PointInTime(options.source, options.to)
    if options.to is not None:
        raise StackError("--to: a dump has only one point in time; name a backup folder")
    return _Dump(options.source)


def _accepts_connections(server: embedded.Postgres) -> bool:
    try:
        psycopg.connect(server.url("postgres"), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


class _Restore:
    """Restores into a locked data folder without a database. The database is created in a separate folder and moved at
    the end, so an interrupted restore leaves nothing half done."""

    def __init__(self, folder: DataFolder, terminal: Terminal) -> None:
        self._folder = folder
        self._terminal = terminal
        self._unfinished = folder.path / "restore.new"

    def run(self, source: _Dump | _PointInTime, *, verify: bool) -> str:
        """Restore, and return what is wrong with the restored ledger, or an empty text."""
        if self._folder.database.exists():
            raise StackError(f"the data folder {self._folder.shown} has a database already: restore into a new one")
        self._remove_unfinished()
        server = embedded_server(self._unfinished, {**_SETTINGS, **source.settings})
        try:
            try:
                source.load(server, self._terminal, self._folder.log("postgresql"), self._owner_url)
                problem = self._complete(verify=verify)
            finally:
                if server.process is not None:
                    embedded.stop(server.process, seconds=60)
            server.pgdata.rename(self._folder.database)
        finally:
            self._remove_unfinished()
        for line in server.notices:
            self._terminal.say(line)
        return problem

    @property
    def _owner_url(self) -> str:
        return embedded.postgres_url(self._unfinished)

    def _complete(self, *, verify: bool) -> str:
        with self._terminal.step("Roles and policies"):
            repaired, problem = self._manage(["repair_roles"])
        if problem:
            raise StackError(f"repair_roles failed: {problem}")
        if _PENDING in repaired:
            self._terminal.say("The backup is of an earlier release: verify it after `costtrack up` (docs/restore.md).")
            return ""
        problem = self._count()
        if verify and not problem:
            with self._terminal.step("Verifying rollups and limits"):
                _, problem = self._manage(["rollups", "verify"], ["limits", "verify"])
            if not problem:
                self._terminal.say("Rollups and limits match the ledger.")
        return problem

    def _count(self) -> str:
        with psycopg.connect(self._owner_url) as connection:
            events, dropped, batches, accepted, last_at = connection.execute(_LEDGER).fetchall()[0]
        self._terminal.say(f"The ledger has {events:,} events of {batches:,} batches.")
        if last_at is not None:
            self._terminal.say(
                f"The last batch was received at {last_at:%Y-%m-%d %H:%M:%S} UTC. Later events are missing: send them"
                " again; those that are stored count once."
            )
        if events + dropped == accepted:
            return ""
        return f"the batches have {accepted:,} events, but {events:,} are stored and {dropped:,} were dropped"

    def _manage(self, *commands: Sequence[str]) -> tuple[str, str]:
        """Run management commands on the restored database. Returns their output, and the problem of one that fails."""
        log = self._folder.log("setup")
        since = logfiles.size(log)
        environment: dict[str, Any] = {**command_environment(self._folder), "DATABASE_URL": self._owner_url}
        # The settings require a key, but these commands do not use it.
        environment.pop("COSTTRACK_SECRET_KEY_FILE", None)
        environment["COSTTRACK_SECRET_KEY"] = secrets.token_urlsafe(50)
        process = run_module(
            ["django", "run_commands", *map(json.dumps, commands)], log, environment=environment, stdout=subprocess.PIPE
        )
        try:
            output, _ = process.communicate()
        finally:
            stop_process(process, signal.SIGTERM, patience=5)
        problem = "" if process.returncode == 0 else f"{logfiles.problem(log, since)} (see {log})"
        return output.decode(errors="replace"), problem

    def _remove_unfinished(self) -> None:
        embedded.remove_sockets(self._unfinished)
        shutil.rmtree(self._unfinished, ignore_errors=True)
