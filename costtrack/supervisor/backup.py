"""`costtrack backup`: a base backup of the embedded database with its write-ahead log, or a dump.

The programs are those of the embedded server, so their version always matches. Use the programs of your own server for
an external database (docs/restore.md).
"""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from costtrack import embedded
from costtrack.supervisor import base_backup
from costtrack.supervisor.environment import is_set
from costtrack.supervisor.folder import DataFolder, StackError
from costtrack.supervisor.interruption import Interruption
from costtrack.supervisor.manage import answers
from costtrack.supervisor.terminal import Terminal

DUMP_SUFFIX = ".dump"


def backup(data_dir: Path, target: Path, keep: int | None) -> int:
    """Back up the database of a running data folder to a dump (`*.dump`) or a backup folder. Returns the exit code."""
    terminal = Terminal()
    folder = DataFolder(data_dir)
    Interruption().install()
    try:
        refuse_own_server()
        _refuse_stopped(folder)
        if target.suffix == DUMP_SUFFIX:
            _back_up_to_file(folder, target, terminal)
        else:
            _back_up_to_folder(folder, target, keep, terminal)
    except KeyboardInterrupt:
        terminal.complain("the backup was interrupted; no backup was written")
        return 1
    except (StackError, OSError) as error:
        terminal.complain(in_one_line(error))
        return 1
    terminal.say(f"It does not contain {folder.secret_key}. Store this file with it.")
    return 0


def in_one_line(error: Exception) -> str:
    """Return the message of an error, for a file without the number that the system gives it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def refuse_own_server() -> None:
    if is_set("DATABASE_URL"):
        raise StackError("DATABASE_URL is set: use the programs of that server (docs/restore.md)")


def _refuse_stopped(folder: DataFolder) -> None:
    if not answers(embedded.postgres_socket(folder.path)):
        raise StackError(f"costtrack is not running on the data folder {folder.shown}; start `costtrack up` first")


def embedded_server(data_dir: Path, settings: dict[str, str]) -> embedded.Postgres:
    try:
        return embedded.Postgres(data_dir, settings)
    except ImportError as error:
        raise StackError(
            f"the embedded servers are not installed ({error.name}): install costtrack[embedded]"
        ) from error


def _back_up_to_folder(folder: DataFolder, target: Path, keep: int | None, terminal: Terminal) -> None:
    if target.is_file():
        raise StackError(f"{target} is a file: name a folder, or a new file that ends with {DUMP_SUFFIX}")
    server = embedded_server(folder.path, {})
    with terminal.step("Base backup"):
        taken = base_backup.take(server, target, datetime.now(UTC))
    for line in server.notices:
        terminal.say(line)
    removed = [] if keep is None else base_backup.remove_older(target, keep)
    if removed:
        terminal.say(f"Removed {len(removed)} older base backups and the log that only they needed.")
    terminal.say(f"The base backup is in {taken.folder} ({taken.bytes / 1_000_000:,.1f} MB).")
    terminal.say(f"Every change from now on is archived in {target / 'wal'} within about a minute.")


def _back_up_to_file(folder: DataFolder, file: Path, terminal: Terminal) -> None:
    """Write the dump, readable only by its owner, or no file."""
    program = embedded_server(folder.path, {}).program("pg_dump")
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
    terminal.say(f"The backup is in {file} ({file.stat().st_size / 1_000_000:,.1f} MB).")


def _run_pg_dump(arguments: list[str], output: IO[bytes]) -> None:
    finished = subprocess.run(arguments, stdout=output, stderr=subprocess.PIPE, check=False)  # noqa: S603 - our own binary
    if finished.returncode != 0:
        raise StackError(f"pg_dump failed: {finished.stderr.decode(errors='replace')}")
