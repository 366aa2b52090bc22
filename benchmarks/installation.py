"""A running `costtrack up`, and requests to it that are repeated until it recovers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.report import say
from costtrack.embedded import remove_sockets

RETRY_SECONDS = 0.2
SECONDS_TO_RECOVER = 180
_SECONDS_TO_START = 600
"""With all migrations."""


@dataclass
class Installation:
    """A running `costtrack up`, its settings, and the key of its clients."""

    data: Path
    url: str
    environment: dict[str, str]
    key: str = ""

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30)

    def operator(self) -> httpx.Client:
        key = (self.data / "operator.key").read_text().strip()
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def wait_until_ready(self, seconds: float = SECONDS_TO_RECOVER) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=10).is_success:
                    return
            time.sleep(RETRY_SECONDS)
        raise TimeoutError("costtrack is not ready again")

    def manage(self, *arguments: str) -> int:
        """Run a command, and return its exit code."""
        command = [costtrack_command(), "manage", "--data-dir", str(self.data), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            say(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.returncode

    def service(self, name: str) -> psutil.Process:
        return psutil.Process(json.loads((self.data / "pids" / name).read_text())["pid"])


@contextmanager
def running(data: Path, **environment: str) -> Iterator[Installation]:
    """Run `costtrack up` on a data folder, with these settings."""
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    environment = {**_environment(), **environment}
    command = [costtrack_command(), "up", "--no-demo", "--port", str(port), "--data-dir", str(data)]
    with data.with_name("log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stack = Installation(data, f"http://127.0.0.1:{port}", environment)
        try:
            stack.wait_until_ready(_SECONDS_TO_START)
            yield stack
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS_TO_RECOVER)
            remove_sockets(data)


def costtrack_command() -> str:
    return str(Path(sys.executable).with_name("costtrack"))


def _environment() -> dict[str, str]:
    own = ("COSTTRACK_", "DATABASE_URL", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}
