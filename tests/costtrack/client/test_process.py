"""The console script as a process of its own: how it starts, how it looks on a terminal, and how it is stopped."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.costtrack.client.conftest import HANG_UP, TOKEN, Server
from tests.costtrack.client.test_events_send import accepted

COSTTRACK = [sys.executable, "-m", "costtrack"]
WAIT = 60  # seconds that a process may take to show something, or to end
SLOW = ("django", "rest_framework", "rich", "celery", "psycopg", "redis", "ssl", "http")


@pytest.fixture
def environment(home: Path, server: Server) -> dict[str, str]:
    folder = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(home / "state")}
    return {
        **os.environ,
        **folder,
        "COSTTRACK_URL": server.url,
        "COSTTRACK_TOKEN": TOKEN,
        "TERM": "xterm",
        "COLUMNS": "80",
    }


@contextmanager
def running(arguments: list[str], environment: dict[str, str], **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """`costtrack` in the background. It is killed at the end, because a test that failed would wait for it."""
    command = [*COSTTRACK, *arguments]
    with subprocess.Popen(command, env=environment, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


# --- Starting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["system", "pricing", "--help"], ["events", "send", "--help"]])
def test_it_starts_with_nothing_that_is_slow(arguments: list[str], environment: dict[str, str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "costtrack", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "costtrack" in modules
    assert modules.isdisjoint(SLOW)


@pytest.mark.parametrize("arguments", [["--help"], ["system", "pricing", "--help"], ["costs", "summary"]])
def test_it_takes_less_than_three_tenths_of_a_second(
    arguments: list[str], environment: dict[str, str], server: Server
) -> None:
    server.answers({"total_cost_usd": "1", "top_models": [{"model": "m", "cost_usd": "1"}]})

    def seconds() -> float:
        """Of the processor, which other work on the machine does not change much."""
        before = os.times()
        subprocess.run([*COSTTRACK, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.3


# --- Ending ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_goes_away_is_no_traceback(flags: list[str], environment: dict[str, str], server: Server) -> None:
    server.answers([{"session_id": f"{number:0>2000}"} for number in range(1_000)])
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [*COSTTRACK, "costs", "sessions", *flags], env=environment, stdout=gone, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_is_one_line(environment: dict[str, str], server: Server) -> None:
    server.answers({"total_cost_usd": "1"})
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COSTTRACK, "costs", "summary"], env=environment, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.stderr == b"costtrack: the output cannot be written: No space left on device\n"
    assert done.returncode == 1


def test_an_interrupted_sending_says_where_it_continues(
    environment: dict[str, str], server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text("\n".join(json.dumps({"id": f"e{number}"}) for number in range(3)))
    server.answers(accepted(2))
    server.answers({}, 503, Retry_After="600")
    with running(["events", "send", str(file), "--batch-size", "2"], environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert "next attempt in 600 s" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        output = process.stderr.read()
        assert process.wait(WAIT) == 130

    assert output == "costtrack: 2 of 3 events are acknowledged; run the same command again to continue\n"


# --- On a terminal ---------------------------------------------------------------------------------------------


@dataclass
class Terminal:
    """`costtrack` on a pseudo-terminal of its own."""

    process: "subprocess.Popen[str]"
    fd: int
    shown: str = ""

    def read_until(self, text: str) -> None:
        """Until it has been shown."""
        while text not in self.shown:
            assert self._read(), self.shown

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> int:
        """Read the rest; answers the exit code."""
        while self._read():
            pass
        return self.process.wait(WAIT)

    def _read(self) -> bool:
        """What is shown next; False at the end."""
        assert select.select([self.fd], [], [], WAIT)[0], self.shown
        try:
            chunk = os.read(self.fd, 65_536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.shown += chunk.decode()
        return bool(chunk)


@contextmanager
def terminal(arguments: list[str], environment: dict[str, str]) -> Iterator[Terminal]:
    fd, end = pty.openpty()
    try:
        with running(arguments, environment, stdin=end, stdout=end, stderr=end, start_new_session=True) as process:
            os.close(end)
            yield Terminal(process, fd)
    finally:
        os.close(fd)


def test_login_asks_for_the_address_and_hides_the_key(environment: dict[str, str], server: Server, home: Path) -> None:
    server.answers({"results": []})
    with terminal(["login"], {**environment, "COSTTRACK_URL": ""}) as login:
        login.read_until("Server URL: ")
        login.type(f"{server.url}\n")
        login.read_until("API key (hidden): ")
        login.type("the-hidden-key\n")
        assert login.end() == 0

    assert "The key works." in login.shown
    assert "hidden-key" not in login.shown
    assert server.last.headers["Authorization"] == "Bearer the-hidden-key"
    assert "the-hidden-key" in (home / "config" / "costtrack" / "logins.json").read_text()


def test_sending_shows_a_bar_and_rejected_records_beside_it(
    environment: dict[str, str], server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text("\n".join(json.dumps({"id": f"e{number}"}) for number in range(3)))
    error = {"index": 1, "id": "e1", "code": "invalid", "message": "Not [red]right[/red]."}
    server.answers(accepted(2, rejected=1, errors=[error]), 207)

    with terminal(["events", "send", str(file)], environment) as sending:
        assert sending.end() == 1

    assert "3/3" in sending.shown
    assert "costtrack: line 2, id e1: Not [red]right[/red]." in sending.shown
    assert "3 events: 2 stored, 1 rejected" in sending.shown


def test_a_table_fits_the_terminal_without_losing_anything(environment: dict[str, str], server: Server) -> None:
    server.answers([{"session_id": "a" * 100, "total_cost_usd": "0.5"}])
    with terminal(["costs", "sessions"], environment) as sessions:
        assert sessions.end() == 0
    assert sessions.shown.count("a") >= 100
    assert "…" not in sessions.shown


def test_connection_errors_on_a_terminal_are_one_line_too(environment: dict[str, str], server: Server) -> None:
    server.answers(HANG_UP)
    with terminal(["costs", "summary"], environment) as summary:
        assert summary.end() == 3
    assert summary.shown.count("\n") == 1
