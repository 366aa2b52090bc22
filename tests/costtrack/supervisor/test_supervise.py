"""Restarting what dies, later each time, and stopping everything in reverse order."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from costtrack.embedded import EmbeddedServerError
from costtrack.supervisor.folder import DataFolder
from costtrack.supervisor.interruption import Interruption
from costtrack.supervisor.services import Service
from costtrack.supervisor.supervise import Supervisor

_FOREVER = "import time; time.sleep(300)"
_STUBBORN = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(300)"


class Stage:
    """A supervisor, the lines it says, and the processes its parts have started, in order."""

    def __init__(self, folder: DataFolder) -> None:
        self.lines: list[str] = []
        self.started: list[subprocess.Popen[bytes]] = []
        self.supervisor = Supervisor(folder, Interruption(), self.lines.append)

    def start(self, name: str, program: str = _FOREVER, patience: float = 10) -> None:
        self.supervisor.start(Service(name, name.title(), lambda _log: self.launch(program), patience=patience), now=0)

    def launch(self, program: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
        self.started.append(process)
        return process

    def end_last(self) -> None:
        self.started[-1].kill()
        self.started[-1].wait()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    folder = DataFolder(tmp_path)
    with folder.locked():
        stage = Stage(folder)
        yield stage
        stage.supervisor.stop()
        for process in stage.started:
            process.communicate()


def test_a_service_that_dies_is_restarted_and_reported(stage: Stage) -> None:
    stage.start("web")
    stage.end_last()
    stage.supervisor.watch(10)
    assert stage.lines == ["Web stopped (killed by SIGKILL); restarting in 1 s"]
    stage.supervisor.watch(10.9)
    assert len(stage.started) == 1
    stage.supervisor.watch(11)
    assert len(stage.started) == 2
    assert stage.started[1].poll() is None


def test_a_service_that_keeps_dying_restarts_later_each_time(stage: Stage) -> None:
    stage.start("web")
    for now in range(0, 7 * 40, 40):
        stage.end_last()
        stage.supervisor.watch(now)
        stage.supervisor.watch(now + 30)
    delays = [line.removeprefix("Web stopped (killed by SIGKILL); restarting in ") for line in stage.lines]
    assert delays == ["1 s", "2 s", "4 s", "8 s", "16 s", "30 s", "30 s"]


def test_a_service_that_ran_for_long_restarts_at_once(stage: Stage) -> None:
    stage.start("web")
    for now in (61, 130):
        stage.end_last()
        stage.supervisor.watch(now)
        stage.supervisor.watch(now + 1)
    assert [line[-4:] for line in stage.lines] == [" 1 s", " 1 s"]


def test_a_restart_that_fails_is_tried_again(stage: Stage) -> None:
    failures = [EmbeddedServerError("the disk is full")]

    def start(_log: Path) -> "subprocess.Popen[bytes]":
        if stage.started and failures:
            raise failures.pop()
        return stage.launch(_FOREVER)

    stage.supervisor.start(Service("web", "Web", start), now=0)
    stage.end_last()
    for now in (0, 5, 10):
        stage.supervisor.watch(now)
    assert stage.lines[-1] == "Web stopped (the disk is full); restarting in 2 s"
    assert len(stage.started) == 2


def test_a_full_disk_loses_no_process(stage: Stage, tmp_path: Path) -> None:
    record = tmp_path / "pids" / "web"
    record.symlink_to("/dev/full")
    stage.start("web")
    stage.end_last()
    stage.supervisor.watch(0)
    stage.supervisor.watch(1)
    assert [process.poll() for process in stage.started] == [-9, None]
    record.unlink()
    stage.supervisor.watch(2)
    assert json.loads(record.read_text())["pid"] == stage.started[-1].pid
    assert len(stage.started) == 2


def test_everything_is_stopped_and_its_files_are_removed(stage: Stage, tmp_path: Path) -> None:
    stage.start("web")
    stage.start("worker")
    assert {path.name for path in (tmp_path / "pids").iterdir()} == {"web", "worker"}
    stage.supervisor.stop()
    assert [process.returncode for process in stage.started] == [-15, -15]
    assert list((tmp_path / "pids").iterdir()) == []


def test_a_service_that_ignores_the_signal_is_killed_after_its_patience(stage: Stage) -> None:
    stage.start("web", _STUBBORN, patience=0.2)
    assert stage.started[0].stdout is not None
    stage.started[0].stdout.readline()
    stage.supervisor.stop()
    assert stage.started[0].returncode == -9
