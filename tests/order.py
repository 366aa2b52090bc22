"""A pytest plugin: the order of the tests, for two workers or more.

The slowest parts begin first, so that they do not delay the end of a parallel run. Files are dealt in turn: at the
start pytest-xdist gives each worker a part of the list. Tests of one file stay together, since they may share what they
have written.
"""

import os

import pytest

_SLOWEST_FIRST = ("stack", "browser", "concurrency", "contract")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files: dict[object, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    ordered = sorted(files.values(), key=lambda tests: _rank(tests[0]))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = [item for first in range(workers) for tests in ordered[first::workers] for item in tests]


def _rank(item: pytest.Item) -> int:
    return next(
        (rank for rank, part in enumerate(_SLOWEST_FIRST) if item.get_closest_marker(part)), len(_SLOWEST_FIRST)
    )
