"""Log files of services: limit their size, and find the line that explains a failure."""

import re
import shutil
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 20 * 1024 * 1024
_TAIL = 16 * 1024
_PROBLEM = re.compile(r"FATAL|PANIC|Error\b|\(\w+\.E\d{3}\)")


def cap(log: Path) -> None:
    """Move a log that has grown too large to `<name>.1`. Its writers append, so they continue in the emptied file.
    Without space for a copy, the log stays as it is until the next check."""
    if log.exists() and log.stat().st_size > MAX_BYTES:
        copy = log.with_name(f"{log.name}.1")
        try:
            shutil.copyfile(log, copy)
        except OSError:
            with suppress(OSError):
                copy.unlink()
            return
        with log.open("r+b") as file:
            file.truncate(0)


def size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def problem(log: Path, since: int) -> str:
    """Return the line after position `since` that best explains a failure."""
    with log.open("rb") as file:
        file.seek(max(since, size(log) - _TAIL))
        lines = [line.rstrip() for line in file.read().decode(errors="replace").splitlines()]
    messages = [line for line in lines if line and not line.startswith((" ", "\t"))]
    problems = [line for line in messages if _PROBLEM.search(line)]
    return (problems or messages or [""])[-1]
