"""The examples' locks are complete: whatever is published later, nothing outside them is needed."""

from importlib.metadata import distributions

import pytest
from packaging.requirements import Requirement

from tests.examples.environments import ROOT, python_of
from tests.locks import EXAMPLES, environments, find_open_requirements, read_lock, read_requirements


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_lock_satisfies_every_requirement_in_every_environment(name: str) -> None:
    example = ROOT / "examples" / name
    pins = read_lock(example / "requirements.txt")
    roots = [Requirement(line) for line in (example / "requirements.in").read_text().splitlines()]
    [packages] = python_of(example).parents[1].glob("lib/python*/site-packages")
    installed = read_requirements(distributions(path=[str(packages)]))
    assert len(installed) > 50

    for environment in environments():
        assert find_open_requirements(pins, roots, installed, environment) == set()
