"""costtrack's programs on one database, started in the same way as by `costtrack up`."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

import psutil
import redis

from benchmarks.client import PROCESSES, Caller
from benchmarks.stack import Stack
from costtrack.supervisor.address import Address
from costtrack.supervisor.folder import DataFolder
from costtrack.supervisor.forking import Process
from costtrack.supervisor.services import Service, programs, run_module

_HOST = "127.0.0.1"
_START_SECONDS = 60
_STOP_SECONDS = 30


class Site:
    """A context manager that runs the web server and, after `start_workers`, the workers."""

    def __init__(self, stack: Stack, database: str) -> None:
        self.database_url = stack.url(database)
        with socket.socket() as probe:
            probe.bind((_HOST, 0))
            self._address = Address(_HOST, probe.getsockname()[1])
        self.caller = Caller(self._address.url, stack.api_key)
        folder = DataFolder(stack.folder / f"site-{database}")
        for path in (folder.path, folder.logs, folder.beat_schedule.parent):
            path.mkdir(exist_ok=True)
        self._log = folder.logs
        start = partial(run_module, environment=stack.environment(database))
        self._web, *self._workers = programs(folder, self._address.host, self._address.port, start)
        self._processes: list[Process] = []
        self._answering: set[int] = set()
        self._redis_url = stack.redis_url(database)

    def __enter__(self) -> Self:
        # Drop messages that an earlier site on this database left in its queues.
        redis.Redis.from_url(self._redis_url).flushdb()
        try:
            self._start(self._web)
            self._wait(self._answers)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def start_workers(self) -> None:
        """Start Celery's workers and the scheduler, and return when /readyz is 200."""
        for service in self._workers:
            self._start(service)
        self._wait(lambda: self._address.what_is_missing() is None)

    def web_processes(self) -> list[psutil.Process]:
        """Return the processes that serve requests."""
        return psutil.Process(self._processes[0].pid).children(recursive=True)

    def _start(self, service: Service) -> None:
        self._processes.append(service.start(self._log / f"{service.name}.log"))

    def _wait(self, is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not is_there():
            ended = [process.pid for process in self._processes if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"The site does not start ({ended or 'too slow'}): {self._log_tails()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Whether all processes of the web server respond. Each attempt may reach any of them."""
        try:
            with self.caller.connect() as connection:
                self._answering.add(self.caller.process_behind(connection))
        except OSError:
            return False
        return len(self._answering) == PROCESSES

    def _log_tails(self) -> str:
        return "\n".join(log.read_text(errors="replace")[-1000:] for log in sorted(self._log.glob("*.log")))

    def _stop(self) -> None:
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
