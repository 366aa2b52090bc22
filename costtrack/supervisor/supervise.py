"""Starts services, restarts those that die, and stops all of them."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from costtrack.embedded import EmbeddedServerError
from costtrack.supervisor import leftovers, logfiles
from costtrack.supervisor.folder import DataFolder
from costtrack.supervisor.forking import Process
from costtrack.supervisor.interruption import Interruption
from costtrack.supervisor.services import Service, stop_signal

_MAX_DELAY = 30
# A service that has run for this long counts as healthy: its next failure is the first one.
_HEALTHY_SECONDS = 20
_LOG_CHECK_SECONDS = 60


@dataclass
class _Running:
    service: Service
    process: Process
    started: float
    failures: int = 0
    restart_at: float | None = None
    is_recorded: bool = False
    """Whether the next `costtrack up` would find the process."""


class Supervisor:
    """Keeps the services of a data folder running. `say` prints a line for every unusual event."""

    def __init__(self, folder: DataFolder, interruption: Interruption, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._interruption = interruption
        self._say = say
        self._running: list[_Running] = []
        self._logs_checked = 0.0

    def start(self, service: Service, now: float) -> None:
        """Start a service. `now` is a monotonic time in seconds, here and in `watch`."""
        logfiles.cap(self._folder.log(service.name))
        with self._interruption.shield():
            running = _Running(service, service.start(self._folder.log(service.name)), now)
            self._running.append(running)
            self._record(running)

    def watch(self, now: float) -> None:
        """Check every service once; restart those that died, with increasing delays."""
        for running in self._running:
            if not running.is_recorded:
                self._record(running)
            if running.restart_at is None and (code := running.process.poll()) is not None:
                end_group(running.process)
                self._plan_restart(running, _why(code), now)
            if running.restart_at is not None and now >= running.restart_at:
                self._restart(running, now)
        if now - self._logs_checked > _LOG_CHECK_SECONDS:
            self._logs_checked = now
            for running in self._running:
                logfiles.cap(self._folder.log(running.service.name))

    def stop(self) -> None:
        """Stop all services in reverse order, and wait for each."""
        self._interruption.ignore_from_now_on()
        for running in reversed(self._running):
            stop_process(running.process, stop_signal(running.service.name), running.service.patience)
            leftovers.forget(self._folder, running.service.name)
        self._running.clear()

    def _record(self, running: _Running) -> None:
        """Record the process, or try again at the next check: a disk that is full is no reason to lose a process."""
        with suppress(OSError):
            leftovers.remember(self._folder, running.service.name, running.process)
            running.is_recorded = True

    def _plan_restart(self, running: _Running, reason: str, now: float) -> None:
        running.failures = 1 if now - running.started > _HEALTHY_SECONDS else running.failures + 1
        delay = min(2 ** (running.failures - 1), _MAX_DELAY)
        running.restart_at = now + delay
        self._say(f"{running.service.title} stopped ({reason}); restarting in {delay} s")

    def _restart(self, running: _Running, now: float) -> None:
        running.started, running.restart_at = now, None
        try:
            with self._interruption.shield():
                running.process = running.service.start(self._folder.log(running.service.name))
                running.is_recorded = False
                self._record(running)
        except (OSError, EmbeddedServerError) as error:
            self._plan_restart(running, str(error), now)


def stop_process(process: Process, stop_with: signal.Signals, patience: float) -> None:
    """Send the signal, wait, and kill what is left of the process group."""
    if process.poll() is None:
        process.send_signal(stop_with)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    end_group(process)
    process.wait()


def end_group(process: Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _why(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
