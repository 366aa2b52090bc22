"""Remembering the parts' processes in the data folder, and ending those that a killed `costtrack up` left behind.

A number in a file may long belong to somebody else's process, so it counts only together with the start time. Of a
part whose first process is gone, the other members of its process group count when their environment names this
data folder.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

from costtrack.supervisor.environment import DATA_DIR
from costtrack.supervisor.folder import DataFolder
from costtrack.supervisor.parts import PART_NAMES, stop_signal

_SAME_START_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class ProcessRecord:
    """A part's process (which leads a process group of its own) and when it was started, in epoch seconds."""

    pid: int
    started: float


def remember(folder: DataFolder, part: str, process: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.NoSuchProcess):
        record = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        (folder.pids / part).write_text(json.dumps(record), encoding="ascii")


def forget(folder: DataFolder, part: str) -> None:
    (folder.pids / part).unlink(missing_ok=True)


def recall(folder: DataFolder, part: str) -> ProcessRecord | None:
    try:
        content = json.loads((folder.pids / part).read_text(encoding="ascii"))
        return ProcessRecord(int(content["pid"]), float(content["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def end_leftovers(folder: DataFolder) -> list[str]:
    """Stop, in order, what still runs from an earlier start on this folder. Answers the parts' names."""
    ended = []
    for part in reversed(PART_NAMES):
        record = recall(folder, part)
        if record is not None and _end(folder, part, record):
            ended.append(part)
        forget(folder, part)
    return ended


def _end(folder: DataFolder, part: str, record: ProcessRecord) -> bool:
    leader = _leader(record)
    if leader is not None:
        leader.send_signal(stop_signal(part))
        _wait_for_end(leader)
    found = leader is not None
    for process in _group(folder, record):
        found = True
        process.kill()
        _wait_for_end(process)
    return found


def _leader(record: ProcessRecord) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(record.pid)
        if _runs(process) and abs(process.create_time() - record.started) < _SAME_START_SECONDS:
            return process
    return None


def _group(folder: DataFolder, record: ProcessRecord) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = os.getpgid(process.pid) == record.pid and process.environ().get(DATA_DIR) == str(folder.path)
            if ours and _runs(process):
                yield process


def _wait_for_end(process: psutil.Process) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _runs(process):
        if time.monotonic() > deadline:
            process.send_signal(signal.SIGKILL)
            deadline += _PATIENCE_SECONDS
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    """A dead process that nobody has waited for yet does not run any more."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
