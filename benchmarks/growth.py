"""Intake into a large ledger, compared with intake into one with 100 thousand events, alternating in the same run.

Each round clones the small ledger again; the large one grows by the events that are sent. Nothing is folded in the
meantime. No checkpoint is forced after the fill, so later checkpoints affect both.
"""

from contextlib import ExitStack

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.report import Figure, say

BUDGET = 0.8
_TURNS = 4
"""The number of steps in which the two alternate within a round, so that other load on the machine affects both."""


def run(bench: Bench) -> list[Figure]:
    large, small = bench.large, bench.small
    at_large, at_small = [], []
    for number in range(bench.rounds):
        say(f"growth: round {number + 1} of {bench.rounds}")
        bench.stack.clone(small, "growth_small")
        large_rate, small_rate = _rates(bench, large, "growth_small")
        at_large.append(large_rate)
        at_small.append(small_rate)
    bench.fold(large)
    name, baseline = f"intake at {bench.events:,} events", f"at {bench.small_events:,}"
    return [Figure(name, "events/s", at_large, baseline, at_small, BUDGET)]


def _rates(bench: Bench, *databases: str) -> list[float]:
    with ExitStack() as stack:
        sites = [stack.enter_context(bench.site(database)) for database in databases]
        seconds = [0.0] * len(sites)
        for _ in range(_TURNS):
            for index, site in enumerate(sites):
                seconds[index] += load.send(site, bench.load // _TURNS)
    return [bench.load // _TURNS * _TURNS / taken for taken in seconds]
