"""A running `costtrack up` that the tests share. Each finds it up, and may do with it what it wants."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from costtrack.embedded import remove_sockets
from tests.stack.running import Running


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
