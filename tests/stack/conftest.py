"""A running `costtrack up` that the tests share. Each finds it up, and may do with it what it wants."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from costtrack.embedded import remove_sockets
from tests.stack.running import Running


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests are the slowest; they begin first, so that in a parallel run nobody waits for them at the end."""
    items.sort(key=lambda item: Path(__file__).parent not in item.path.parents)


@pytest.fixture(scope="package")
def shared_stack() -> Iterator[Running]:
    folder = Path(tempfile.mkdtemp(prefix="ct-up-"))
    running = Running(folder / "data")
    yield running
    running.end()
    remove_sockets(running.data)
    shutil.rmtree(folder)


@pytest.fixture
def stack(shared_stack: Running) -> Running:
    if not shared_stack.is_up:
        shared_stack.up()
    return shared_stack
