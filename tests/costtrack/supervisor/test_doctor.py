"""`costtrack doctor`: what it says of a data folder and its machine."""

import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from costtrack.cli import main
from costtrack.findings import Finding
from costtrack.supervisor.doctor import Options, examine_machine


class Usage(NamedTuple):
    """As `shutil.disk_usage` returns it."""

    total: int
    used: int
    free: int


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a secret, on which nothing runs."""
    monkeypatch.delenv("DATABASE_URL")
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "secret.key").touch(mode=0o600)
    return folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def examine(folder: Path, *, port: int | None = None, backups: Path | None = None) -> dict[str, Finding]:
    options = Options("127.0.0.1", port or free_port(), folder, backups)
    return {finding.subject.partition(" ")[0]: finding for finding in examine_machine(options)}


def test_a_folder_on_which_nothing_runs_has_one_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data-dir", str(folder), "--port", str(free_port())]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", "permissions"],
        ["ok", "disk"],
        ["ok", "port"],
        ["warning", "backups"],
        ["failed", "database"],
    ] or lines[1].startswith("warning  disk")
    assert lines[-1].endswith(f"not running on the data folder {folder}; start costtrack up, and run doctor again")


def test_secrets_that_others_may_read_are_named_with_the_command(folder: Path) -> None:
    (folder / "operator.key").touch()
    (folder / "operator.key").chmod(0o644)
    finding = examine(folder)["permissions"]
    assert (finding.result, finding.text) == (
        "failed",
        f"{folder}/operator.key has mode 0644: chmod 0600 {folder}/operator.key",
    )


def test_a_full_disk_is_a_failure_and_a_filling_one_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for free in (10**8, 5 * 2**30, 50 * 2**30):
        usage = Usage(100 * 2**30, 0, free)
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        results.append(str(examine(folder)["disk"].result))
    assert results == ["failed", "warning", "ok"]


def test_a_port_that_another_process_uses_is_a_failure(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        finding = examine(folder, port=server.getsockname()[1])["port"]
    assert finding.result == "failed"
    assert f"end it with `kill {os.getpid()}`" in finding.text


def test_the_newest_backup_counts(folder: Path, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    assert examine(folder, backups=backups)["backups"].text == f"{backups}: No such file or directory"
    backups.mkdir()
    assert examine(folder, backups=backups)["backups"].result == "failed"
    for days, result in ((9, "failed"), (1, "ok")):
        file = backups / f"{days}.dump"
        file.touch()
        os.utime(file, (time.time() - days * 86_400,) * 2)
        finding = examine(folder, backups=backups)["backups"]
        assert (finding.result, finding.text) == (result, f"the newest one in {backups} is {days}.0 days old")
