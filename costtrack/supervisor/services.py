"""The services of the stack and their commands."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from costtrack import embedded
from costtrack.queues import Queue
from costtrack.supervisor.environment import is_set
from costtrack.supervisor.folder import DataFolder, StackError
from costtrack.supervisor.forking import Process

# In start order; they are stopped in reverse.
SERVICE_NAMES = ("postgresql", "redis", "web", "worker-rollups", "worker-limits", "worker", "beat")

# The queues of each worker. Folding has a separate worker, so that no long task delays it. Enforcement has one too,
# because a pass over many organizations would delay folding, and a rebuild or a slow mail server would delay a warning.
# The third worker has two processes, so that notifications are sent during a rebuild.
_ROLLUP_QUEUES = (Queue.ROLLUPS,)
_LIMIT_QUEUES = (Queue.LIMITS,)
_OTHER_QUEUES = tuple(queue for queue in Queue if queue not in (*_ROLLUP_QUEUES, *_LIMIT_QUEUES))
_OTHER_PROCESSES = 2

_MEGABYTE = 1024 * 1024
# `migrate` runs Django's system checks at the start, which take half a second in each process.
_CELERY = ("celery", "--app", "costtrack.celery", "--skip-checks", "--quiet")


@dataclass(frozen=True)
class Service:
    """A process to keep alive. `start` takes the log file and returns immediately."""

    name: str
    title: str
    start: Callable[[Path], Process]
    wait_until_ready: Callable[[], None] | None = None
    patience: float = 10.0  # seconds to stop before it is killed
    notices: Sequence[str] = ()  # lines for the user, once it is ready


def stop_signal(name: str) -> signal.Signals:
    """Return the signal that stops a service. On SIGTERM, PostgreSQL would wait for its connections to end."""
    return signal.SIGINT if name == "postgresql" else signal.SIGTERM


def servers(folder: DataFolder) -> list[Service]:
    """Return PostgreSQL and Redis, unless the caller configured external servers."""
    services = []
    try:
        if not is_set("DATABASE_URL"):
            postgres = embedded.Postgres(folder.path, postgres_settings(_memory()))
            title = f"PostgreSQL {postgres.version}"
            wait = postgres.wait_until_ready
            services.append(Service("postgresql", title, postgres.start, wait, patience=60, notices=postgres.notices))
        if not is_set("REDIS_URL"):
            redis = embedded.Redis(folder.path)
            services.append(Service("redis", "Redis", redis.start, redis.wait_until_ready))
    except ImportError as error:
        raise StackError(
            f"the embedded servers are not installed ({error.name}): install costtrack[embedded], "
            "or set DATABASE_URL and REDIS_URL"
        ) from error
    return services


def programs(folder: DataFolder, host: str, port: int, start: Callable[[list[str], Path], Process]) -> list[Service]:
    """Return the processes of costtrack: the web server, the Celery workers and the scheduler. `start` runs a module
    with arguments and writes its output to a log."""
    web = ["costtrack", "serve", "--host", host, "--port", str(port)]
    beat = [*_CELERY, "beat", "--schedule", str(folder.beat_schedule), "--loglevel", "INFO"]
    rollup_worker = worker_command("rollups", _ROLLUP_QUEUES, processes=1)
    limit_worker = worker_command("limits", _LIMIT_QUEUES, processes=1)
    worker = worker_command("worker", _OTHER_QUEUES, processes=_OTHER_PROCESSES)
    return [
        Service("web", "Web server", partial(start, web)),
        Service("worker-rollups", "Rollup worker", partial(start, rollup_worker)),
        Service("worker-limits", "Limit worker", partial(start, limit_worker)),
        Service("worker", "Worker", partial(start, worker)),
        Service("beat", "Scheduler", partial(start, beat)),
    ]


def worker_command(name: str, queues: Iterable[Queue], *, processes: int) -> list[str]:
    return [
        *(*_CELERY, "worker", "--hostname", f"{name}@%h"),
        *("--queues", ",".join(queues), "--concurrency", str(processes)),
        *("--without-mingle", "--without-gossip", "--without-heartbeat", "--loglevel", "INFO"),
    ]


def run_module(
    arguments: list[str], log: Path, *, environment: Mapping[str, str], stdout: int | None = None
) -> "subprocess.Popen[bytes]":
    """Start `python -m <arguments>` as the leader of a new process group. Its output goes to the log, or its stdout to
    the given descriptor."""
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own modules, no shell
            [sys.executable, "-m", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            start_new_session=True,
        )


def postgres_settings(memory: int) -> dict[str, str]:
    """Return settings for a shared machine with this much memory in bytes. Commits are always durable: fsync,
    full_page_writes and synchronous_commit keep their defaults."""
    shared_buffers = min(max(memory // 8, 64 * _MEGABYTE), 1024 * _MEGABYTE)
    return {
        "shared_buffers": f"{shared_buffers // _MEGABYTE}MB",
        "effective_cache_size": f"{max(memory // 2, 128 * _MEGABYTE) // _MEGABYTE}MB",
        "maintenance_work_mem": f"{min(max(memory // 64, 32 * _MEGABYTE), 256 * _MEGABYTE) // _MEGABYTE}MB",
        # Fewer checkpoints: after each one, every changed page is written to the WAL in full.
        "checkpoint_timeout": "15min",
        "max_wal_size": "2GB",
        "min_wal_size": "128MB",
        "wal_compression": "off",
        "random_page_cost": "1.1",
        # The first base backup sets a command, which would otherwise need a restart.
        "archive_mode": "on",
        "archive_timeout": "60s",
        "jit": "off",  # it costs more than it saves on queries of milliseconds
    }


def _memory() -> int:
    """Return the memory of this machine or container in bytes."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(physical, *memory_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))


def memory_limits(membership: Path, root: Path) -> Iterator[int]:
    """Return the limits in bytes of the control groups of a process, of version 1 and 2, and of the groups above them.
    In a container `root` can be its own group, so that the named folders do not exist."""
    lines = membership.read_text(encoding="utf-8").splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            folder = root / controllers
            file = "memory.limit_in_bytes" if controllers else "memory.max"
            names = path.split("/")[1:] if path != "/" else []
            for depth in range(len(names) + 1):
                limit = folder.joinpath(*names[:depth], file)
                if limit.exists() and (text := limit.read_text(encoding="ascii").strip()).isdecimal():
                    yield int(text)
