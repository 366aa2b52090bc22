"""A process with the product's code, which forks those that tests start, as `costtrack up` does. To load the code takes
two seconds of a processor, which each of them would need.

    python -m tests.preloaded

Each line of its input is a JSON object: with the arguments and the log of a process to start, whose id is the answer,
or with the id of one, to which the answer is its exit code, or null while it runs. All of them end with it.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from costtrack import metrics_folder
from costtrack.supervisor.forking import ForkedProcess, fork_module, load
from tests.database import database_url

_CHANGES_WITH_EACH_TEST = "PYTEST_CURRENT_TEST"


def environment_of_servers() -> dict[str, str]:
    """That of processes on the database of the tests, which keep their connections as in production."""
    return {**os.environ, "DATABASE_URL": database_url(), "COSTTRACK_DATABASE_POOL": "true"}


@contextmanager
def preloading(environment: Mapping[str, str], folder: Path) -> Iterator["Preloaded"]:
    """A process with the settings of this environment, whose files are in the folder."""
    preloaded = Preloaded(environment, folder)
    try:
        yield preloaded
    finally:
        preloaded.end()


class Preloaded:
    """The process, which begins when it is first needed. It has the settings of one environment."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = _comparable(environment)
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self.has_ended = False

    def has(self, environment: Mapping[str, str]) -> bool:
        """Whether its settings are those of this environment."""
        return _comparable(environment) == self._environment

    def start(self, arguments: Sequence[str], log: Path) -> "Forked":
        """Run `python -m <arguments>`, as the leader of a new process group. Its output goes to the log."""
        return Forked(self, self.ask(arguments=arguments, log=str(log)))

    def ask(self, **request: Any) -> Any:
        with self._lock:
            process = self._process = self._process or self._begin()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{json.dumps(request)}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

    def end(self) -> None:
        """With all that it has started."""
        if self._process is not None:
            self._process.communicate()
        self.has_ended = True

    def _begin(self) -> "subprocess.Popen[str]":
        metrics = self._folder / "metrics"
        metrics.mkdir()
        with (self._folder / "preloaded.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.preloaded"],
                env={**self._environment, metrics_folder.VARIABLE: str(metrics)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )


@dataclass
class Forked:
    """A process that it has started, with what the tests use of `subprocess.Popen`."""

    parent: Preloaded = field(repr=False)
    pid: int
    returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = -signal.SIGKILL if self.parent.has_ended else self.parent.ask(pid=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def _comparable(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name != _CHANGES_WITH_EACH_TEST}


def _answer_requests() -> None:
    load(os.environ)
    started: dict[int, ForkedProcess] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "pid" in request:
            answer = started[request["pid"]].poll()
        else:
            process = fork_module(request["arguments"], Path(request["log"]))
            answer = process.pid
            started[answer] = process
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
    for process in started.values():
        if process.poll() is None:
            with suppress(ProcessLookupError):  # it leads no group yet
                os.killpg(process.pid, signal.SIGKILL)
            process.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    _answer_requests()
