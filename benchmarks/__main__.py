"""`python -m benchmarks <name> [--events N] [--load N] [--rounds N] [--seed N] [--small N]
[--folder DIR] [--json FILE]`."""

import argparse
import json
import os
import platform
import signal
from pathlib import Path

import django

from benchmarks import (
    authorize,
    buffers,
    chaos,
    connections,
    contention,
    disk,
    failover,
    fold,
    growth,
    intake,
    memory,
    otlp,
    pages,
    reads,
    rebuild,
)
from benchmarks.bench import SMALL, Bench, Benchmark
from benchmarks.report import Figure, say, table
from benchmarks.stack import Stack

# In an order in which a benchmark can use the ledger of the previous one: the size on disk is measured before events
# are sent.
BENCHMARKS: dict[str, Benchmark] = {
    "intake": intake.run,
    "otlp": otlp.run,
    "authorize": authorize.run,
    "contention": contention.run,
    "memory": memory.run,
    "connections": connections.run,
    "disk": disk.run,
    "reads": reads.run,
    "pages": pages.run,
    "buffers": buffers.run,
    "growth": growth.run,
    "fold": fold.run,
    "rebuild": rebuild.run,
}

FORECAST = "forecast"
"""It needs no servers."""
CHAOS = "chaos"
"""It starts `costtrack up` as a user does."""
FAILOVER = "failover"
"""The same, with two PostgreSQL servers under Patroni."""


def main() -> None:
    arguments = _arguments()
    # Stop the servers on SIGTERM as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = list(BENCHMARKS) if arguments.name == "all" else [arguments.name]
    load = min(arguments.load, arguments.events)
    if arguments.name == FORECAST:
        _show(arguments, load, _forecast())
        return
    if arguments.name == CHAOS:
        _show(arguments, load, chaos.run(events=arguments.events, seed=arguments.seed))
        return
    if arguments.name == FAILOVER:
        _show(arguments, load, failover.run(events=load, rounds=arguments.rounds))
        return
    figures: list[Figure] = []
    with Stack(arguments.folder) as stack:
        small = min(arguments.small, arguments.events // 10)
        bench = Bench(stack, events=arguments.events, small_events=small, load=load, rounds=arguments.rounds)
        for name in names:
            say(name)
            made = BENCHMARKS[name](bench)
            figures += made
            if len(names) > 1:
                say(f"\n{table(made)}")
    _show(arguments, load, figures)


def _forecast() -> list[Figure]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costtrack.settings")
    django.setup()
    from benchmarks import anomalies, forecast  # models are imported after the setup

    return [*forecast.run(), *anomalies.run()]


def _show(arguments: argparse.Namespace, load: int, figures: list[Figure]) -> None:
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(_report(arguments, load, figures), indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*BENCHMARKS, FORECAST, CHAOS, FAILOVER, "all"])
    parser.add_argument(
        "--events", type=int, default=10_000_000, help="events in the large ledger (memory: sent in all, at most 1M)"
    )
    parser.add_argument(
        "--small", type=int, default=SMALL, help="events in the small ledger, at most a tenth of --events"
    )
    parser.add_argument("--folder", type=Path, help="keep the servers' data, with the filled ledgers, for the next run")
    parser.add_argument("--load", type=int, default=200_000, help="events sent in each measured round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each leg; the median counts")
    parser.add_argument("--seed", type=int, default=1, help="of the faults of chaos")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def _report(arguments: argparse.Namespace, load: int, figures: list[Figure]) -> dict[str, object]:
    return {
        "benchmark": arguments.name,
        "events": arguments.events,
        "load": load,
        "rounds": arguments.rounds,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "figures": [figure.as_dict() for figure in figures],
    }


if __name__ == "__main__":
    main()
