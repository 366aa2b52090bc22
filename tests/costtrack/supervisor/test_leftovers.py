"""Ending what a killed `costtrack up` left behind - and nothing else."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from costtrack.supervisor import leftovers
from costtrack.supervisor.folder import DataFolder

# A leader that starts a child in its process group, tells the child's number, and waits.
_LEADER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
print(child.pid, flush=True)
time.sleep(300)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path)
    with folder.locked():
        yield folder


@pytest.fixture
def leader(folder: DataFolder) -> Iterator["subprocess.Popen[bytes]"]:
    with folder.log("web").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _LEADER], stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def child_of(leader: "subprocess.Popen[bytes]") -> int:
    assert leader.stdout is not None
    return int(leader.stdout.readline())


def runs(pid: int) -> bool:
    """Whether the process is there and not only waiting to be collected."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def test_a_process_that_was_left_running_is_ended_with_its_children(
    folder: DataFolder, leader: "subprocess.Popen[bytes]"
) -> None:
    leftovers.remember(folder, "web", leader)
    child = child_of(leader)
    assert leftovers.end_leftovers(folder) == ["web"]
    assert not runs(leader.pid)
    assert not runs(child)
    assert list(folder.pids.iterdir()) == []


def test_children_whose_first_process_is_gone_are_ended_too(
    folder: DataFolder, leader: "subprocess.Popen[bytes]"
) -> None:
    leftovers.remember(folder, "web", leader)
    child = child_of(leader)
    leader.kill()
    leader.wait()
    assert runs(child)
    assert leftovers.end_leftovers(folder) == ["web"]
    assert not runs(child)


def test_another_process_that_has_got_the_same_number_is_left_alone(
    folder: DataFolder, leader: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    (folder.pids / "web").write_text(json.dumps({"pid": leader.pid, "started": 1_000_000_000.0}))
    elsewhere = DataFolder(tmp_path / "elsewhere")
    with elsewhere.locked():
        (folder.pids / "web").rename(elsewhere.pids / "web")
        assert leftovers.end_leftovers(elsewhere) == []
    assert runs(leader.pid)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": "x", "started": 1}', '{"pid": 999999999, "started": 1}'])
def test_a_file_that_says_nothing_useful_is_removed(folder: DataFolder, content: str) -> None:
    (folder.pids / "web").write_text(content)
    assert leftovers.end_leftovers(folder) == []
    assert list(folder.pids.iterdir()) == []
