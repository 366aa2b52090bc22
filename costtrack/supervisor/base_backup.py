"""Base backups of the embedded database with its write-ahead log, for a restore to a point in time.

A backup folder has `base/<time>/`, one base backup each, and `wal/`, where PostgreSQL archives its log: every minute if
there are changes, and after each 16 MB.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psycopg

from costtrack import __version__, embedded
from costtrack.supervisor.folder import StackError

_SUFFIX = ".gz"
_UNFINISHED = ".unfinished"
_SUMMARY = "backup.json"
_CHUNK_BYTES = 1024 * 1024
_SEGMENT_BYTES = 16 * 1024 * 1024
_SEGMENTS_PER_FILE = 0x1_0000_0000 // _SEGMENT_BYTES
_WAL_FILE = re.compile(r"[0-9A-F]{24}\.gz")


@dataclass(frozen=True)
class BaseBackup:
    """One base backup. It can be restored to `finished_at` and later."""

    folder: Path
    finished_at: datetime
    postgresql: str

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for file in self.folder.iterdir())

    @property
    def first_wal_file(self) -> str:
        """The name of the file of the write-ahead log that a restore reads first."""
        manifest = json.loads((self.folder / "backup_manifest").read_text(encoding="utf-8"))
        start = manifest["WAL-Ranges"][0]
        high, low = (int(part, 16) for part in start["Start-LSN"].split("/"))
        segment = ((high << 32) + low) // _SEGMENT_BYTES
        file, number = divmod(segment, _SEGMENTS_PER_FILE)
        return f"{start['Timeline']:08X}{file:08X}{number:08X}"


def list_base_backups(target: Path) -> list[BaseBackup]:
    """Return the complete base backups of a backup folder, the oldest first."""
    backups = []
    for summary in sorted((target / "base").glob(f"*/{_SUMMARY}")):
        values = json.loads(summary.read_text(encoding="utf-8"))
        finished_at = datetime.fromisoformat(values["finished_at"])
        backups.append(BaseBackup(summary.parent, finished_at, values["postgresql"]))
    return backups


def take(server: embedded.Postgres, target: Path, now: datetime) -> BaseBackup:
    """Archive the log of a running server to the backup folder from now on, and write a base backup. Raises StackError;
    the log is archived also if the base backup fails."""
    wal = target / "wal"
    for folder in (target, target / "base", wal):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    server.give(wal)
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        if connection.execute("SHOW archive_mode").fetchone() != ("on",):
            raise StackError(
                "PostgreSQL was started by an earlier release, without archive_mode; restart `costtrack up`"
            )
        embedded.set_archive_command(connection, _archive_command(wal))
    folder = target / "base" / f"{now:%Y%m%dT%H%M%SZ}"
    unfinished = folder.with_name(folder.name + _UNFINISHED)
    try:
        _run_pg_basebackup(server, unfinished)
        _refuse_damaged(unfinished)
        # The transaction that writes the summary is later than the end of the backup.
        values = {"finished_at": datetime.now(UTC).isoformat(), "postgresql": server.version, "costtrack": __version__}
        (unfinished / _SUMMARY).write_text(json.dumps(values), encoding="utf-8")
        for file in unfinished.iterdir():
            _synchronize(file)
        unfinished.rename(folder)
        _synchronize(folder.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return list_base_backups(target)[-1]


# Compressed here, because the server would also need the library.
_OPTIONS = (
    *("--format=tar", "--compress=client-gzip:1", "--manifest-checksums=SHA256"),
    *("--checkpoint=fast", "--wal-method=stream", "--no-sync"),
)


def remove_older(target: Path, keep: int) -> list[BaseBackup]:
    """Remove all but the newest base backups, and the log that none of the remaining ones needs."""
    backups = list_base_backups(target)
    removed, left = backups[:-keep], backups[-keep:]
    for backup in removed:
        shutil.rmtree(backup.folder)
    first = min(backup.first_wal_file for backup in left)
    for file in (target / "wal").iterdir():
        # Of all timelines: the first eight digits are the timeline's number.
        if _WAL_FILE.fullmatch(file.name) and file.name[8:24] < first[8:]:
            file.unlink()
    return removed


def _refuse_damaged(folder: Path) -> None:
    """Read the whole base backup and compare it with the checksums of its manifest. Raises StackError."""
    manifest = json.loads((folder / "backup_manifest").read_text(encoding="utf-8"))
    with tarfile.open(folder / "base.tar.gz") as archive:
        checksums = {member.name: _checksum(archive.extractfile(member)) for member in archive}
    for file in manifest["Files"]:
        if checksums.get(file["Path"]) != file["Checksum"]:
            raise StackError(f"the base backup {folder} is damaged: {file['Path']}")


def _checksum(file: IO[bytes] | None) -> str:
    digest = hashlib.sha256()
    while file is not None and (chunk := file.read(_CHUNK_BYTES)):
        digest.update(chunk)
    return digest.hexdigest()


def extract(backup: BaseBackup, server: embedded.Postgres) -> None:
    """Write the database of a base backup as the data of a server that does not run yet. Raises StackError if it is
    damaged."""
    _refuse_damaged(backup.folder)
    server.pgdata.mkdir(mode=0o700, parents=True)
    for name, folder in (("base.tar.gz", server.pgdata), ("pg_wal.tar.gz", server.pgdata / "pg_wal")):
        with tarfile.open(backup.folder / name) as archive:
            archive.extractall(folder, filter="data")
    for path in (server.pgdata, *server.pgdata.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    (server.pgdata / "recovery.signal").touch(mode=0o600)
    server.give(server.pgdata)


def recovery_settings(target: Path, to: datetime | None) -> Iterator[tuple[str, str]]:
    """Yield the settings of a server that replays the archived log, up to a time or to its end."""
    wal = shlex.quote(str((target / "wal").resolve()) + "/").replace("%", "%%")
    yield "restore_command", f"gzip -dc {wal}%f{_SUFFIX} > %p"
    yield "hot_standby", "off"  # connections are refused until the end
    yield "recovery_target_action", "promote"
    yield "archive_mode", "off"
    if to is not None:
        yield "recovery_target_time", to.isoformat()


def _archive_command(wal: Path) -> str:
    """Return a command that stores a file once, completely or not at all. PostgreSQL repeats it until it succeeds."""
    folder = shlex.quote(str(wal.resolve()) + "/").replace("%", "%%")
    file, part = f"{folder}%f{_SUFFIX}", f"{folder}%f.part"
    is_stored = f'test "$(gzip -dc {file} | cksum)" = "$(cksum < %p)"'
    store = f"gzip -1 < %p > {part} && sync {part} && mv {part} {file}"
    return f"if test -f {file}; then {is_stored}; else {store}; fi"


def _run_pg_basebackup(server: embedded.Postgres, folder: Path) -> None:
    command = [str(server.program("pg_basebackup")), "--dbname", server.url("postgres"), "--pgdata", str(folder)]
    finished = subprocess.run([*command, *_OPTIONS], capture_output=True, check=False)  # noqa: S603 - our own binary
    if finished.returncode != 0:
        raise StackError(f"pg_basebackup failed: {finished.stderr.decode(errors='replace')}")


def _synchronize(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
