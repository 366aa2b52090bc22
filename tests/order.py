"""A pytest plugin: the order of the tests, for two workers or more.

The slowest parts begin first, so that they do not delay the end of a parallel run. Files are dealt in turn: at
the start pytest-xdist gives each of two workers one half of the list. Tests of one file stay together, since they may
share what they have written.
"""

import pytest

_SLOWEST_FIRST = ("stack", "browser", "concurrency", "contract")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    files: dict[object, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    ordered = sorted(files.values(), key=lambda tests: _rank(tests[0]))
    items[:] = [item for half in (ordered[::2], ordered[1::2]) for tests in half for item in tests]


def _rank(item: pytest.Item) -> int:
    return next(
        (rank for rank, part in enumerate(_SLOWEST_FIRST) if item.get_closest_marker(part)), len(_SLOWEST_FIRST)
    )
