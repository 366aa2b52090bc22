"""`costtrack up` as a user runs it: the console script, in a process and an environment of its own."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx
import psutil

from tests.plain_http import NO_TLS

COSTTRACK = str(Path(sys.executable).with_name("costtrack"))
_OF_THE_TESTS = ("COSTTRACK_", "DATABASE_URL", "REDIS_URL", "DJANGO_", "PYTEST_")


def environment() -> dict[str, str]:
    """A user's environment: without the servers of the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OF_THE_TESTS)}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself."""
    return subprocess.run(
        [COSTTRACK, *arguments], env=environment(), capture_output=True, text=True, check=False, timeout=120
    )


def start(*arguments: str) -> "subprocess.Popen[str]":
    """The same in the background, until the block ends."""
    return subprocess.Popen(
        [COSTTRACK, *arguments], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@dataclass
class Running:
    """One data folder and the `costtrack up` that runs on it."""

    data: Path
    port: int = field(default_factory=free_port)
    lines: list[str] = field(default_factory=list)
    _process: "subprocess.Popen[str] | None" = None
    _unread: "queue.Queue[str | None]" = field(default_factory=queue.Queue)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def operator_key(self) -> str:
        return (self.data / "operator.key").read_text().strip()

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.operator_key}"}, timeout=60, verify=NO_TLS
        )

    def up(self) -> None:
        """Start, and wait until all of the welcome has been said."""
        self._process = subprocess.Popen(
            [COSTTRACK, "up", "--no-demo", "--port", str(self.port), "--data-dir", str(self.data)],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines, self._unread = [], queue.Queue()
        threading.Thread(target=_read, args=(self._process, self._unread), daemon=True).start()
        self.wait_for("Ctrl-C stops everything.")

    def wait_for(self, beginning: str, seconds: float = 120) -> str:
        """The next line that begins so. Fails when the output ends, or after some seconds without a line."""
        while True:
            line = self._unread.get(timeout=seconds)
            assert line is not None, "\n".join(self.lines)
            self.lines.append(line)
            if line.startswith(beginning):
                return line

    def pid_of(self, service: str) -> int:
        return int(json.loads((self.data / "pids" / service).read_text())["pid"])

    def services(self) -> list[psutil.Process]:
        """The processes that it starts itself; they have children of their own, some of which come and go."""
        return [psutil.Process(self.pid_of(path.name)) for path in (self.data / "pids").iterdir()]

    def wait_until_replaced(self, service: str, pid: int) -> None:
        """Until the part has a new process, and everything is ready again."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                ready = httpx.get(f"{self.url}/readyz", timeout=30, verify=NO_TLS).status_code == HTTPStatus.OK
                if ready and self.pid_of(service) != pid:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"{service} was not replaced")

    def supervisor(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def children(self) -> list[psutil.Process]:
        return self.supervisor().children(recursive=True)

    def stop(self, with_signal: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(with_signal)
        return self._process.wait(120)

    def end(self) -> None:
        """Leave nothing behind, whatever the tests have done: a start ends what an earlier one has left."""
        if self._process is None or not (self.is_up or any((self.data / "pids").iterdir())):
            return
        if not self.is_up:
            self.up()
        self.stop(signal.SIGTERM)


def _read(process: "subprocess.Popen[str]", lines: "queue.Queue[str | None]") -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line.rstrip("\n"))
    lines.put(None)
