"""`costtrack doctor`: examines a data folder and its machine, and then what runs on it."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from costtrack import embedded
from costtrack.findings import Finding, Result, count_failed
from costtrack.supervisor.address import Address
from costtrack.supervisor.environment import is_set
from costtrack.supervisor.folder import DataFolder, StackError
from costtrack.supervisor.manage import answers, manage
from costtrack.supervisor.terminal import Terminal

_GIGABYTE = 1024**3
_MIN_FREE = _GIGABYTE
_LOW_PERCENT = 10
_DAY = 86_400
_MAX_BACKUP_DAYS = 2


@dataclass(frozen=True)
class Options:
    """The command line of `costtrack doctor`."""

    host: str
    port: int
    data_dir: Path
    backups: Path | None


def doctor(options: Options) -> int:
    """Print one line for each finding. Returns 1 if one of them is a failure."""
    terminal = Terminal()
    findings = []
    for finding in examine_machine(options):
        terminal.say(str(finding))
        findings.append(finding)
    exit_code = 1 if count_failed(findings) else 0
    if not _has_database(options):
        return exit_code
    try:
        return max(exit_code, manage(options.data_dir, ["doctor"]))
    except SystemExit as exit_:
        return int(exit_.code or 0) or exit_code


def examine_machine(options: Options) -> Iterator[Finding]:
    """Yield what can be known without Django."""
    folder = DataFolder(options.data_dir)
    if folder.path.is_dir():
        yield _permissions(folder)
        yield _disk(folder)
    else:
        yield Finding(Result.WARNING, "data folder", f"{folder.shown} does not exist; costtrack up creates it")
    yield _address(Address(options.host, options.port), is_running=_has_database(options))
    yield _backups(options.backups)
    if not _has_database(options):
        text = f"not running on the data folder {folder.shown}; start costtrack up, and run doctor again"
        yield Finding(Result.FAILED, "database", text)


def _has_database(options: Options) -> bool:
    path = DataFolder(options.data_dir).path
    return is_set("DATABASE_URL") or answers(embedded.postgres_socket(path))


def _permissions(folder: DataFolder) -> Finding:
    """Secrets belong to their owner alone. As root, PostgreSQL's account passes through the folder."""
    allowed = 0o711 if os.geteuid() == 0 else 0o700
    expected = {folder.path: allowed}
    expected |= dict.fromkeys((folder.secret_key, folder.operator_key, folder.operator_password), 0o600)
    wrong = []
    for path, mode in expected.items():
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        actual = stat.S_IMODE(status.st_mode)
        if actual & ~mode:
            wrong.append(f"{path} has mode {actual:04o}: chmod {mode:04o} {path}")
    if wrong:
        return Finding(Result.FAILED, "permissions", "; ".join(wrong))
    return Finding(Result.OK, "permissions", f"{folder.shown} and its secrets are private")


def _disk(folder: DataFolder) -> Finding:
    usage = shutil.disk_usage(folder.path)
    percent = 100 * usage.free // usage.total
    text = f"{usage.free / _GIGABYTE:,.1f} GB free ({percent}%) for {folder.shown}"
    if usage.free < _MIN_FREE:
        return Finding(Result.FAILED, "disk", f"{text}; PostgreSQL stops when the disk is full")
    return Finding(Result.WARNING if percent < _LOW_PERCENT else Result.OK, "disk", text)


def _address(address: Address, *, is_running: bool) -> Finding:
    subject = f"port {address.port}"
    try:
        address.ensure_free()
    except StackError as error:
        if not is_running:
            return Finding(Result.FAILED, subject, str(error))
        missing = address.what_is_missing()
        if missing is None:
            return Finding(Result.OK, subject, f"costtrack is ready at {address.url}")
        return Finding(Result.FAILED, subject, f"{address.url} is not a costtrack that is ready: {missing}")
    text = "no web server listens there" if is_running else "free"
    return Finding(Result.WARNING if is_running else Result.OK, subject, text)


def _backups(folder: Path | None) -> Finding:
    if folder is None:
        return Finding(Result.WARNING, "backups", "not examined; name their folder with --backups")
    try:
        # A file each, or the folders of `costtrack backup`.
        files = [path for path in folder.iterdir() if path.is_file()] + list(folder.glob("base/*/backup.json"))
        times = [path.stat().st_mtime for path in files]
    except OSError as error:
        return Finding(Result.FAILED, "backups", f"{folder}: {error.strerror}")
    if not times:
        return Finding(Result.FAILED, "backups", f"no backup in {folder}")
    days = (time.time() - max(times)) / _DAY
    result = Result.OK if days <= _MAX_BACKUP_DAYS else Result.FAILED
    return Finding(result, "backups", f"the newest one in {folder} is {days:.1f} days old")
