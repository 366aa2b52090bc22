"""Resident memory of the web server's processes, before and after they have processed a million events."""

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.report import Figure, say
from benchmarks.site import Site

MILLION = 1_000_000
_MEGABYTE = 1024 * 1024
_MAX_GROWTH = 0.10
_MAX_GROWTH_MB = 15
_WARM_UP = 50_000
_STEPS = 10


def run(bench: Bench) -> list[Figure]:
    database = bench.fresh("memory")
    events = min(bench.events, MILLION)
    with bench.site(database) as site:
        load.send(site, min(_WARM_UP, events))
        warm = _resident(site)
        for _ in range(_STEPS):
            load.send(site, events // _STEPS)
            say(f"memory: {', '.join(f'{size:.0f} MB' for size in _resident(site))}")
        after = _resident(site)
    budget = 1 + max(_MAX_GROWTH, _MAX_GROWTH_MB / min(warm))
    name = f"memory of a web process after {events:,} events"
    return [Figure(name, "MB", after, "the same process, warm", warm, budget, lower_is_better=True)]


def _resident(site: Site) -> list[float]:
    return [process.memory_info().rss / _MEGABYTE for process in site.web_processes()]
