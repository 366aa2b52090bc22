"""Records the processes of services in the data folder, and ends those that a killed `costtrack up` left behind.

A process id may have been reused, so it counts only together with the start time. If the first process of a service is
gone, other members of its process group count if they write to the log of the service.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from costtrack.supervisor.folder import DataFolder
from costtrack.supervisor.forking import Process
from costtrack.supervisor.services import SERVICE_NAMES, stop_signal

_SAME_START_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class ProcessRecord:
    """The process of a service, which leads its own process group, and its start time in epoch seconds."""

    pid: int
    started: float


def remember(folder: DataFolder, service: str, process: Process) -> None:
    with suppress(psutil.NoSuchProcess):
        record = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        (folder.pids / service).write_text(json.dumps(record), encoding="ascii")


def forget(folder: DataFolder, service: str) -> None:
    (folder.pids / service).unlink(missing_ok=True)


def recall(folder: DataFolder, service: str) -> ProcessRecord | None:
    try:
        content = json.loads((folder.pids / service).read_text(encoding="ascii"))
        return ProcessRecord(int(content["pid"]), float(content["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def end_leftovers(folder: DataFolder) -> list[str]:
    """Stop services that still run from an earlier start on this folder, and return their names."""
    ended = []
    for service in reversed(SERVICE_NAMES):
        record = recall(folder, service)
        if record is not None and _end(folder, service, record):
            ended.append(service)
        forget(folder, service)
    return ended


def _end(folder: DataFolder, service: str, record: ProcessRecord) -> bool:
    leader = _leader(record)
    if leader is not None:
        leader.send_signal(stop_signal(service))
        _wait_for_end(leader)
    has_ended = leader is not None
    for process in _group(record, folder.log(service)):
        has_ended = True
        process.kill()
        _wait_for_end(process)
    return has_ended


def _leader(record: ProcessRecord) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(record.pid)
        if _runs(process) and abs(process.create_time() - record.started) < _SAME_START_SECONDS:
            return process
    return None


def _group(record: ProcessRecord, log: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == record.pid and _writes_to(process, log) and _runs(process):
                yield process


def _writes_to(process: psutil.Process, log: Path) -> bool:
    return any(file.path == str(log) for file in process.open_files())


def _wait_for_end(process: psutil.Process) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while _runs(process):
        if time.monotonic() > deadline:
            process.send_signal(signal.SIGKILL)
            deadline += _PATIENCE_SECONDS
        time.sleep(0.05)


def _runs(process: psutil.Process) -> bool:
    """Whether the process runs. A zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
