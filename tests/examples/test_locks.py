"""The locks of the examples and clients are complete: packages that are published later change nothing."""

from importlib.metadata import distributions

import pytest
from packaging.requirements import Requirement

from tests.examples.environments import ROOT, packages_of
from tests.locks import ENVIRONMENTS, environments, find_open_requirements, read_lock, read_requirements


@pytest.mark.parametrize("folder", ENVIRONMENTS)
def test_the_lock_satisfies_every_requirement_in_every_environment(folder: str) -> None:
    example = ROOT / folder
    pins = read_lock(example / "requirements.txt")
    roots = [Requirement(line) for line in (example / "requirements.in").read_text().splitlines()]
    installed = read_requirements(distributions(path=[str(packages_of(example))]))
    assert len(installed) >= len(roots)

    for environment in environments():
        assert find_open_requirements(pins, roots, installed, environment) == set()
