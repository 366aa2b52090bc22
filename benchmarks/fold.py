"""Folding, compared with the intake of the same round: a backlog by one process, and by the real workers while intake
runs at full speed. The lag is the age of the oldest unfolded batch, measured ten times a second."""

from time import perf_counter

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.lag import LagWatch, wait_until_folded
from benchmarks.report import Figure, say
from benchmarks.site import Site

BUDGET = 1.0
MAX_LAG = 2.0


def run(bench: Bench) -> list[Figure]:
    database = bench.large
    with bench.site(database) as site:
        bench.fold(database)
        figures = _backlog(bench, site, database)
        site.start_workers()
        figures += _workers(bench, site, figures[0].baseline)
    return figures


def _backlog(bench: Bench, site: Site, database: str) -> list[Figure]:
    intake, folding = [], []
    for number in range(bench.rounds):
        say(f"fold: backlog {number + 1} of {bench.rounds}")
        intake.append(bench.load / load.send(site, bench.load))
        started = perf_counter()
        folded = bench.fold(database)
        folding.append(folded / (perf_counter() - started))
        assert folded == bench.load, folded
    return [Figure("fold of a backlog, one process", "events/s", folding, "intake alone", intake, BUDGET)]


def _workers(bench: Bench, site: Site, alone: list[float]) -> list[Figure]:
    intake, peak, last, rest = [], [], [], []
    for number in range(bench.rounds):
        say(f"fold: with the workers {number + 1} of {bench.rounds}")
        with LagWatch(site.database_url) as watch:
            intake.append(bench.load / load.send(site, bench.load))
        peak.append(max(watch.seen, default=0.0))
        last.append(watch.seen[-1] if watch.seen else 0.0)
        rest.append(wait_until_folded(site.database_url))
    return [
        Figure("intake while the workers fold", "events/s", intake, "intake alone", alone),
        Figure("lag at full intake, largest", "s", peak, limit=MAX_LAG, lower_is_better=True),
        Figure("lag when the intake ends", "s", last, limit=MAX_LAG, lower_is_better=True),
        Figure("until all is folded then", "s", rest),
    ]
