"""The command line of `tests.fuzz`."""

import argparse
import os
import random
import sys
from pathlib import Path

import django

# The parsers read settings, but use no server.
os.environ.setdefault("COSTTRACK_SECRET_KEY", "only-to-read-the-settings-" + "x" * 50)
os.environ.setdefault("DATABASE_URL", "postgresql://none@127.0.0.1:1/none")
os.environ.setdefault("REDIS_URL", "redis://127.0.0.1:1/0")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "costtrack.settings")
django.setup()

from tests import fuzz  # noqa: E402 - after Django is set up
from tests.fuzz.targets import TARGETS  # noqa: E402 - as above


def main() -> int:
    """Returns 1 if there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=fuzz.__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="of all parsers together")
    parser.add_argument("--seed", type=int, help="of the random numbers (default: another one each time)")
    parser.add_argument("--only", default="", help="parsers whose name begins so")
    parser.add_argument("--folder", type=Path, default=fuzz.ROOT / "build" / "fuzz", help="of corpus and findings")
    options = parser.parse_args()
    chosen = [target for target in TARGETS if target.name.startswith(options.only)]
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    _say(f"seed {seed}")
    found = 0
    for target in chosen:
        seeds = [*target.seeds, *fuzz.stored(options.folder, target.name)]
        generator = random.Random(f"{seed} {target.name}")
        outcome = fuzz.fuzz(target, seeds, generator, seconds=options.seconds / len(chosen), inputs=sys.maxsize)
        fuzz.store(options.folder, target.name, outcome)
        _say(f"{target.name}: {outcome.inputs:,} inputs, {len(outcome.corpus)} behaviors")
        for location, body in outcome.findings.items():
            _say(f"    FINDING {location}: {body[:200]!r}")
        found += len(outcome.findings)
    return 1 if found else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


sys.exit(main())
