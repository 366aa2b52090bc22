"""A pytest plugin: the order of the tests, for two workers or more.

At the start, pytest-xdist gives each worker an equal part of the list. Each part begins with slow tests, so that they
do not delay the end of a parallel run. Fast tests follow, which an idle worker can take over. Tests of one file stay
together, because they may share data.
"""

import os
from collections.abc import Iterator
from itertools import chain, islice

import pytest

_SLOWEST_FIRST = ("stack", "browser", "concurrency", "contract")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    files: dict[object, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    slow = [
        tests for part in _SLOWEST_FIRST for tests in files.values() if tests[0].get_closest_marker(part) is not None
    ]
    fast = chain.from_iterable(tests for tests in files.values() if not _is_slow(tests[0]))
    items[:] = list(_deal(len(items), slow, fast, workers))


def _is_slow(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(part) for part in _SLOWEST_FIRST)


def _deal(
    count: int, slow: list[list[pytest.Item]], fast: Iterator[pytest.Item], workers: int
) -> Iterator[pytest.Item]:
    """Yield the part of each worker: slow files in turn, then fast tests up to the size of its part."""
    for number in range(workers):
        size = count // (workers - number)  # as pytest-xdist divides them
        count -= size
        dealt = list(chain.from_iterable(slow[number::workers]))
        yield from dealt
        yield from islice(fast, max(0, size - len(dealt)))
    yield from fast
