"""Fixtures with real threads, connections and server processes."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import httpx
import psutil
import psycopg
import pytest
from django.db import connection, connections

from costtrack.supervisor.forking import Process
from costtrack.supervisor.services import run_module
from tests.database import database_url
from tests.plain_http import NO_TLS
from tests.preloaded import Preloaded, environment_of_servers

T = TypeVar("T")
R = TypeVar("R")


def run_concurrently(work: Callable[[T], R], inputs: Sequence[T]) -> list[R]:
    """Run `work` on every input in separate threads that start at the same time, each connected to the database.
    Return the results in order."""
    barrier = Barrier(len(inputs))

    def run(value: T) -> R:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=30)
            return work(value)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(inputs)) as pool:
        return list(pool.map(run, inputs))


@dataclass
class Server:
    """costtrack's web server as it runs in production, with two worker processes unless the test needs one only."""

    port: int
    process: Process
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        return psutil.Process(self.process.pid).children()

    def kill(self) -> None:
        """Send SIGKILL to all processes at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wait_until_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                httpx.get(f"{self.url}/healthz", verify=NO_TLS)
            except httpx.TransportError:
                assert self.process.poll() is None, "the server stopped"
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.05)
            else:
                return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


StartServer = Callable[..., Server]


@pytest.fixture
def start_server(transactional_db: None, preloaded: Preloaded, tmp_path: Path) -> Iterator[StartServer]:
    """Start servers on the test's database, on a free or a given port. They are forked from the preloaded process,
    unless they have other settings than that (`start_server(DATABASE_URL=...)`). They are killed after the test."""
    with _starting_servers(preloaded, tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_shared_server(preloaded: Preloaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """The same, for all tests of a module."""
    with _starting_servers(preloaded, tmp_path_factory.mktemp("servers")) as start:
        yield start


@contextmanager
def _starting_servers(preloaded: Preloaded, folder: Path) -> Iterator[StartServer]:
    servers: list[Server] = []

    def start(port: int | None = None, *, workers: int = 2, of: Preloaded = preloaded, **environment: str) -> Server:
        port = port or _free_port()
        arguments = ["costtrack", "serve", "--port", str(port), "--workers", str(workers)]
        log = folder / f"server-{len(servers)}.log"
        settings = environment_of_servers() | environment
        process = of.start(arguments, log) if of.has(settings) else run_module(arguments, log, environment=settings)
        server = Server(port, process, log)
        servers.append(server)
        server.wait_until_ready()
        return server

    try:
        yield start
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.kill()
        wait_until_disconnected()


def wait_until_disconnected(seconds: float = 30) -> None:
    """Wait for the backends of killed servers, which may still change rows."""
    deadline = time.monotonic() + seconds
    with psycopg.connect(database_url(), autocommit=True) as admin:
        while time.monotonic() < deadline:
            others = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
                " AND pid <> pg_backend_pid()"
            ).fetchone()
            if others == (0,):
                return
            time.sleep(0.05)
