"""What each read costs, in figures that do not depend on the load of the machine: the buffers (pages of 8 kB) that
PostgreSQL touches, the CPU time of Django and PostgreSQL, and the bytes of the response.

Every documented read and every page of the sidebar is requested in this process: in a small and in a large ledger,
both of a year, and in the large one while some events are unfolded. The budget of the large ledger is `OF_SMALL_LEDGER`
times the ratio of the responses' sizes. The first read after events have arrived adds them up; it has no budget.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from statistics import mean
from time import process_time
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.bench import Bench
from benchmarks.load import BATCH, new_events
from benchmarks.pages import START, get_owner, sidebar_links
from benchmarks.read_endpoints import ENDPOINTS, Endpoint
from benchmarks.read_samples import Sample, samples
from benchmarks.reads import OF_FOLDED, OF_SMALL_LEDGER, TAIL
from benchmarks.report import Figure, say

if TYPE_CHECKING:
    from django.test import Client

_HOST = "localhost"
_SENT = 1_000
_EXPLAINED = 5
"""Requests whose buffers are counted, each with another sample."""
_MIN_CPU_SECONDS = 0.4
"""PostgreSQL's CPU time is known to 10 ms."""
_MAX_REQUESTS = 60


@dataclass
class _Cost:
    """The cost of one read: the mean of its requests. `first_buffers` are those of the first request."""

    buffers: float
    cpu_ms: float
    size: float
    first_buffers: float


@dataclass
class _Reader:
    """Reads one ledger in this process."""

    api: "Client"
    browser: "Client"
    pages: list[str]
    samples: list[Sample]
    costs: dict[str, _Cost] = field(default_factory=dict)

    def measure_all(self) -> dict[str, _Cost]:
        requests: dict[str, Sequence[Callable[[], int]]] = {
            endpoint.name: [self._endpoint(endpoint, sample) for sample in self.samples] for endpoint in ENDPOINTS
        }
        requests |= {f"page {_without_organization(path)}": [self._page(path)] for path in self.pages}
        return {name: _measure(of_one) for name, of_one in requests.items()}

    def _endpoint(self, endpoint: Endpoint, sample: Sample) -> Callable[[], int]:
        address, body = endpoint.filled(sample)
        headers = {"X-Bypass-Cache": "1"}

        def request() -> int:
            if body:
                return _size(self.api.post(address, body, content_type="application/json", headers=headers))
            return _size(self.api.get(address, headers=headers))

        return request

    def _page(self, path: str) -> Callable[[], int]:
        return lambda: _size(self.browser.get(path))


def run(bench: Bench) -> list[Figure]:
    large = bench.large
    bench.stack.clone(bench.small_year, "buffers_small")
    say("buffers: the small ledger")
    at_small = _open(bench, "buffers_small").measure_all()
    say("buffers: the large ledger")
    reader = _open(bench, large)
    at_large = reader.measure_all()
    say(f"buffers: with {TAIL:,} events that are not folded")
    _send(reader.api, TAIL)
    with_tail = reader.measure_all()
    bench.fold(large)
    return [
        figure for name in at_large for figure in _figures(bench, name, at_small[name], at_large[name], with_tail[name])
    ]


def _figures(bench: Bench, name: str, small: _Cost, large: _Cost, tail: _Cost) -> Iterator[Figure]:
    growth = OF_SMALL_LEDGER * max(large.size / small.size, 1)
    before, folded = f"at {bench.small_events:,}", "all folded"
    rows = (
        ("buffers", large.buffers, before, small.buffers, growth),
        ("ms of CPU", large.cpu_ms, before, small.cpu_ms, growth),
        ("bytes", large.size, before, small.size, None),
        (f"buffers, {TAIL:,} not folded", tail.buffers, folded, large.buffers, OF_FOLDED),
        (f"ms of CPU, {TAIL:,} not folded", tail.cpu_ms, folded, large.cpu_ms, OF_FOLDED),
        (f"buffers of the first read, {TAIL:,} not folded", tail.first_buffers, folded, large.buffers, None),
    )
    for unit, measured, baseline_name, baseline, budget in rows:
        yield Figure(name, unit, [measured], baseline_name, [baseline], budget, lower_is_better=True)


def _open(bench: Bench, database: str) -> _Reader:
    from django.test import Client

    bench.stack.use(database)
    api = Client(headers={"Authorization": f"Bearer {bench.stack.api_key}", "Host": _HOST})
    browser = Client(headers={"Host": _HOST})
    browser.force_login(get_owner(bench.stack.organization_id))
    _send(api, _SENT)
    bench.fold(database)
    bench.stack.use(database)

    def get(path: str) -> Any:
        return json.loads(api.get(path).content)

    return _Reader(
        api,
        browser,
        sidebar_links(browser.get(START, follow=True).content.decode()),
        samples(bench.stack.url(database), bench.stack.organization_id, get),
    )


def _send(api: "Client", events: int) -> None:
    for _ in range(events // BATCH):
        body = json.dumps({"events": new_events(BATCH)})
        _size(api.post("/usage/events", body, content_type="application/json"))


def _measure(requests: Sequence[Callable[[], int]]) -> _Cost:
    from benchmarks.touched import touched

    buffers, sizes = [], []
    for request in islice(cycle(requests), _EXPLAINED + 1):
        with touched() as counter:
            sizes.append(request())
        buffers.append(counter.buffers)
    server = _server()
    started, number = _cpu_seconds(server), 0
    for request in islice(cycle(requests), _MAX_REQUESTS):
        request()
        number += 1
        if _cpu_seconds(server) - started > _MIN_CPU_SECONDS:
            break
    cpu_ms = (_cpu_seconds(server) - started) / number * 1000
    # The first request also plans functions and fills caches.
    return _Cost(mean(buffers[1:]), cpu_ms, mean(sizes[1:]), buffers[0])


def _server() -> psutil.Process:
    """Return PostgreSQL's process of this connection."""
    from django.db import connection

    connection.ensure_connection()
    return psutil.Process(connection.connection.info.backend_pid)


def _cpu_seconds(server: psutil.Process) -> float:
    spent = server.cpu_times()
    return process_time() + spent.user + spent.system


def _size(response: Any) -> int:
    assert response.status_code in (200, 201), response.content[:2000]
    return len(b"".join(response.streaming_content) if response.streaming else response.content)


def _without_organization(path: str) -> str:
    return path.partition("/admin/")[2]
