"""`python -m benchmarks <name> [--events N] [--rounds N] [--json FILE]`."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import intake
from benchmarks.report import Figure, table
from benchmarks.stack import Stack

BENCHMARKS: dict[str, Callable[[Stack, int, int], list[Figure]]] = {"intake": intake.run}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*BENCHMARKS, "all"])
    parser.add_argument("--events", type=int, default=100_000, help="events in each measured round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each leg; the median counts")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    names = list(BENCHMARKS) if arguments.name == "all" else [arguments.name]
    figures: list[Figure] = []
    with Stack() as stack:
        for name in names:
            figures += BENCHMARKS[name](stack, arguments.events, arguments.rounds)
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps([figure.as_dict() for figure in figures], indent=2) + "\n")
    sys.exit(0)


if __name__ == "__main__":
    main()
