"""The folder in which the processes of a host share their counters.

prometheus_client writes the counters of each process to files named by its process id, and adds up the files of all
processes, also of those that have ended. It reads the folder from the environment when it is imported.
"""

import os
import tempfile
from pathlib import Path

import psutil

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def use_default_folder(port: int) -> None:
    """Set the folder for the processes of the web server on this port, unless the environment names one. Leave it unset
    if the default one cannot be used, for example because it belongs to another user."""
    if os.environ.get(VARIABLE):
        return
    folder = Path(tempfile.gettempdir()) / f"costtrack-metrics-{os.getuid()}-{port}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return
    if folder.is_dir() and not folder.is_symlink() and status.st_uid == os.getuid():
        os.environ[VARIABLE] = str(folder)


def prepare(port: int) -> None:
    """Before the web server starts: choose the folder, and remove the files of earlier processes."""
    use_default_folder(port)
    if folder := os.environ.get(VARIABLE):
        remove_files_of_ended_processes(Path(folder))


def remove_files_of_ended_processes(folder: Path, pattern: str = "*.db") -> None:
    """Remove the files that match. Without the files of a process its counts are gone, which Prometheus handles like a
    restart."""
    for path in folder.glob(pattern):
        process = path.stem.rpartition("_")[2]
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            path.unlink(missing_ok=True)
