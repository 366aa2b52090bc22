"""How clients that send half a request affect others: memory of the web server's processes with 2,000 of them, and
response times with 500 of them and 20 bodies of 64 MB. And response times while another organization floods the server.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count, cycle, islice, repeat
from statistics import median, quantiles
from urllib.parse import urlsplit

from benchmarks.bench import Bench
from benchmarks.client import Caller
from benchmarks.report import Figure
from benchmarks.site import Site

_CONNECTIONS = 2000
_MEGABYTE = 1024 * 1024
_MAX_MEMORY = 1.5
_HALF_SENT_CONNECTIONS = 500
_LARGE_BODIES = 20
_LARGE_BODY = 64 * _MEGABYTE
_MAX_HEALTH_MS = 1000
_MAX_SLOWDOWN = 2.0
_PROBES = 100
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
        return [*_memory(site), *_half_sent_requests(bench, site), _flood(bench, site)]


def _memory(site: Site) -> list[Figure]:
    before = _resident(site)
    with _half_sent(site.caller.url, _CONNECTIONS):
        time.sleep(2)  # until the server has seen them all
        during = _resident(site)
    name = f"memory of a web process, {_CONNECTIONS:,} idle or half-sent connections"
    return [Figure(name, "MB", during, "the same process, without", before, _MAX_MEMORY, lower_is_better=True)]


def _resident(site: Site) -> list[float]:
    return [process.memory_info().rss / _MEGABYTE for process in site.web_processes()]


def _half_sent_requests(bench: Bench, site: Site) -> list[Figure]:
    """The slowest response of /healthz and the median of single events on new connections, while half-sent requests are
    open. The server closes those after some seconds, so each round opens them again."""
    health: list[float] = []
    quiet: list[float] = []
    busy: list[float] = []
    for _ in range(bench.rounds):
        quiet.append(_median(site.caller))
        with _half_sent(site.caller.url, _HALF_SENT_CONNECTIONS, _LARGE_BODIES):
            health.append(max(_times_on_new_connections(site.caller, [site.caller.get("/healthz")] * _PROBES)) * 1000)
            busy.append(_median(site.caller))
    during = f"{_HALF_SENT_CONNECTIONS} half-sent requests and {_LARGE_BODIES} bodies of 64 MB"
    return [
        Figure(f"/healthz: slowest with {during}", "ms", health, limit=_MAX_HEALTH_MS, lower_is_better=True),
        Figure(f"single events: p50 with {during}", "ms", busy, "alone", quiet, _MAX_SLOWDOWN, lower_is_better=True),
    ]


def _median(caller: Caller) -> float:
    return median(_times_on_new_connections(caller, [_event(caller) for _ in range(_PROBES)])) * 1000


def _times_on_new_connections(caller: Caller, requests: Sequence[bytes]) -> list[float]:
    """Return the seconds of each request, on connections that the kernel distributes over the processes."""
    times = []
    for request in requests:
        with caller.connect() as connection:
            times += connection.seconds_of_each([request])
    return times


@contextmanager
def _half_sent(url: str, connections: int, large_bodies: int = 0) -> Iterator[None]:
    address = urlsplit(url)
    large = f"{_HEAD}Content-Length: {_LARGE_BODY}\r\n\r\n".encode() + b" " * _MEGABYTE
    opened: list[socket.socket] = []
    try:
        for sent in chain(islice(cycle(_HALF_SENT), connections), repeat(large, large_bodies)):
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
