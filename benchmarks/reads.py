"""Latency of every documented read: over one HTTP keep-alive connection, in a large and in a small ledger, compared
with a bare Django REST framework view of the same server.

The endpoints are listed in `benchmarks.read_endpoints`. An additional round reads while some events are unfolded. Some
responses are longer in a large ledger, because more users spend each day, so their sizes are compared as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from statistics import median
from time import perf_counter

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.client import Connection
from benchmarks.read_endpoints import BARE, ENDPOINTS, Endpoint
from benchmarks.read_samples import samples
from benchmarks.report import Figure, say
from benchmarks.site import Site

OF_BARE_VIEW = 3.0
OF_SMALL_LEDGER = 1.5
OF_FOLDED = 2.0
TAIL = 10_000
_MAX_REQUESTS, _MIN_REQUESTS = 200, 5
_LEG_SECONDS = 2.0
_WITH_TAIL, _AGAIN, _BEFORE = " with the tail", ", asked again", "bare before "


@dataclass
class _Legs:
    """Milliseconds of one endpoint's requests: the median and the 95th percentile of each round. `sizes` are the bytes
    of the longest response of each round."""

    medians: list[float] = field(default_factory=list)
    nearly_worst: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)

    def add(self, taken: Sequence[float], size: int) -> None:
        self.medians.append(median(taken))
        self.nearly_worst.append(sorted(taken)[int(len(taken) * 0.95)])
        self.sizes.append(size)


class _Reader:
    """A site, its samples, and its measurements."""

    def __init__(self, bench: Bench, site: Site) -> None:
        self.site = site
        with site.caller.connect() as connection:
            self._samples = samples(
                site.database_url,
                bench.stack.organization_id,
                lambda path: connection.json(site.caller.get(path)),
            )
        self.legs: dict[str, _Legs] = {}

    def read(self, connection: Connection, endpoint: Endpoint, label: str = "") -> None:
        requests = [endpoint.request(self.site.caller, sample) for sample in self._samples]
        first, _ = _exchange(connection, requests[0])
        count = max(_MIN_REQUESTS, min(_MAX_REQUESTS, int(_LEG_SECONDS / first)))
        exchanged = [_exchange(connection, request) for request in islice(cycle(requests), count)]
        taken = [seconds * 1000 for seconds, _ in exchanged]
        self.legs.setdefault(endpoint.name + label, _Legs()).add(taken, max(size for _, size in exchanged))


def run(bench: Bench) -> list[Figure]:
    large = bench.large
    bench.stack.clone(bench.small_year, "reads_small")
    with bench.site(large) as large_site, bench.site("reads_small") as small_site:
        bench.fold(large, "reads_small")
        at_large, at_small = _Reader(bench, large_site), _Reader(bench, small_site)
        for number in range(bench.rounds):
            say(f"reads: round {number + 1} of {bench.rounds}")
            _read_all(at_large, at_small)
        say(f"reads: with {TAIL:,} events that are not folded")
        load.send(large_site, TAIL)
        with large_site.caller.connect() as connection:
            for endpoint in ENDPOINTS:
                at_large.read(connection, endpoint, _WITH_TAIL)
    bench.fold(large)
    return _figures(bench, at_large.legs, at_small.legs)


def _read_all(at_large: _Reader, at_small: _Reader) -> None:
    with at_large.site.caller.connect() as large, at_small.site.caller.connect() as small:
        for endpoint in ENDPOINTS:
            at_large.read(large, replace(BARE, name=_BEFORE + endpoint.name))
            at_large.read(large, endpoint)
            at_large.read(large, replace(endpoint, is_new=False), _AGAIN)
            at_small.read(small, endpoint)


def _figures(bench: Bench, large: dict[str, _Legs], small: dict[str, _Legs]) -> list[Figure]:
    figures = []
    for endpoint in ENDPOINTS:
        name, legs, bare = endpoint.name, large[endpoint.name], large[_BEFORE + endpoint.name]
        tail = large[name + _WITH_TAIL]
        rows = (
            (name, legs.medians, BARE.name, bare.medians, OF_BARE_VIEW),
            (name + _AGAIN, large[name + _AGAIN].medians, BARE.name, bare.medians, OF_BARE_VIEW),
            (f"{name}: 95th percentile", legs.nearly_worst, BARE.name, bare.nearly_worst, None),
            (
                f"{name}: at {bench.events:,} events",
                legs.medians,
                f"at {bench.small_events:,}",
                small[name].medians,
                OF_SMALL_LEDGER,
            ),
            (f"{name}: with {TAIL:,} not folded", tail.medians, "without", legs.medians, OF_FOLDED),
        )
        figures += [
            Figure(row_name, "ms", measured, baseline_name, baseline, budget, lower_is_better=True)
            for row_name, measured, baseline_name, baseline, budget in rows
        ]
        size = f"{name}: longest response"
        figures.append(Figure(size, "bytes", legs.sizes, f"at {bench.small_events:,}", small[name].sizes))
    return figures


def _exchange(connection: Connection, request: bytes) -> tuple[float, int]:
    """Return the seconds of a request, and the size of the response."""
    started = perf_counter()
    body = connection.exchange(request)
    return perf_counter() - started, len(body)
