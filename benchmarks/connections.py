"""Memory of the web server's processes with 2,000 connections that send nothing more, and how long others wait for an
answer while another organization floods the server."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, cycle
from statistics import quantiles
from urllib.parse import urlsplit

from benchmarks.bench import Bench
from benchmarks.client import Caller
from benchmarks.report import Figure
from benchmarks.site import Site

_CONNECTIONS = 2000
_MEGABYTE = 1024 * 1024
_MAX_MEMORY = 1.5
_MAX_DELAY = 3.0
_FLOOD_CONNECTIONS = 32
_CALLS = 400
_HEAD = "POST /usage/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_HALF_SENT = (
    b"",
    _HEAD.encode(),
    f"{_HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\n[{{".encode(),
    f"{_HEAD}Content-Length: 1000\r\n\r\n[{{".encode(),
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
)


def run(bench: Bench) -> list[Figure]:
    database = bench.fresh("connections")
    with bench.site(database) as site:
        return [*_memory(site), _flood(bench, site)]


def _memory(site: Site) -> list[Figure]:
    before = _resident(site)
    with _half_sent(site.caller.url, _CONNECTIONS):
        time.sleep(2)  # until the server has seen them all
        during = _resident(site)
    name = f"memory of a web process, {_CONNECTIONS:,} idle or half-sent connections"
    return [Figure(name, "MB", during, "the same process, without", before, _MAX_MEMORY, lower_is_better=True)]


def _resident(site: Site) -> list[float]:
    return [process.memory_info().rss / _MEGABYTE for process in site.web_processes()]


@contextmanager
def _half_sent(url: str, connections: int) -> Iterator[None]:
    address = urlsplit(url)
    opened: list[socket.socket] = []
    try:
        for _, sent in zip(range(connections), cycle(_HALF_SENT), strict=False):
            opened.append(socket.create_connection((str(address.hostname), address.port or 80)))
            opened[-1].sendall(sent)
        yield
    finally:
        for connection in opened:
            connection.close()


def _flood(bench: Bench, site: Site) -> Figure:
    """The 99th percentile of single events of one organization, while another sends as many as it can."""
    quiet: list[float] = []
    busy: list[float] = []
    other = Caller(site.caller.url, bench.stack.other_api_key)
    for _ in range(bench.rounds):
        quiet.append(_p99(site.caller))
        with _flooding(other):
            busy.append(_p99(site.caller))
    name = f"single events: p99 while another organization sends on {_FLOOD_CONNECTIONS} connections"
    return Figure(name, "ms", busy, "the same, alone", quiet, _MAX_DELAY, lower_is_better=True)


_numbers = count()


def _event(caller: Caller) -> bytes:
    body = json.dumps({"id": f"call-{next(_numbers)}-{time.time()}", "model": "small", "cost_usd": "0.01"})
    return caller.post("/usage/events", body.encode())


def _p99(caller: Caller) -> float:
    _, durations = caller.measure([_event(caller) for _ in range(_CALLS)], 2)
    return quantiles(durations, n=100)[98] * 1000


@contextmanager
def _flooding(caller: Caller) -> Iterator[None]:
    """Send on many connections until the end of the block."""
    ended = threading.Event()

    def send() -> None:
        with caller.connect() as connection:
            while not ended.is_set():
                connection.exchange(_event(caller))

    threads = [threading.Thread(target=send) for _ in range(_FLOOD_CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
