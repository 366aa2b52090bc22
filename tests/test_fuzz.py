"""Each parser meets a few mutated inputs, the same ones every time; `python -m tests.fuzz` runs for ten minutes."""

import random

import pytest

from tests.fuzz import Target, fuzz
from tests.fuzz.targets import TARGETS
from tests.profiles import choose


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_parser_reads_or_refuses_any_input(target: Target) -> None:
    inputs = choose(len(target.seeds) + 60, long=len(target.seeds) + 5000)
    outcome = fuzz(target, target.seeds, random.Random(target.name), seconds=60, inputs=inputs)
    assert outcome.findings == {}
    assert outcome.inputs == inputs
    assert outcome.corpus


def test_a_finding_has_its_location_in_the_code_and_its_input() -> None:
    def fail(body: bytes) -> str:
        return str(1 // len(body.replace(b"x", b"")))

    outcome = fuzz(Target("x", fail, [b"y"]), [b"xx", b"y"], random.Random(1), seconds=5, inputs=2)
    [(location, body)] = outcome.findings.items()
    assert location.startswith("ZeroDivisionError in tests/test_fuzz.py:")
    assert body == b"xx"
