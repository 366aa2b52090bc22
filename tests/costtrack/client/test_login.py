"""`costtrack login`: a key from stdin. (On a terminal: test_process.py.)"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.costtrack.client.conftest import Run, Server

EVENTS: dict[str, Any] = {"results": [], "next_cursor": None}


@pytest.fixture
def login_file(home: Path) -> Path:
    return home / "config" / "costtrack" / "logins.json"


def test_a_good_key_is_stored_readable_by_its_owner_only(bare_run: Run, server: Server, login_file: Path) -> None:
    server.answers(EVENTS)

    done = bare_run("login", "--url", f"{server.url}/", stdin=" the-key \n")

    assert (done.code, done.err) == (0, "")
    assert done.out == f"The key works. It is stored in {login_file} for {server.url}.\n"
    assert (server.last.method, server.last.path, server.last.query) == ("GET", "/usage/events", {"limit": "1"})
    assert server.last.headers["Authorization"] == "Bearer the-key"
    assert login_file.stat().st_mode & 0o777 == 0o600
    assert login_file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in login_file.parent.iterdir()] == ["logins.json"]


def test_the_next_commands_use_it(bare_run: Run, server: Server) -> None:
    server.answers(EVENTS)
    bare_run("login", "--url", server.url, stdin="the-key")
    assert bare_run("costs", "summary").code == 0
    assert server.last.headers["Authorization"] == "Bearer the-key"
    bare_run("costs", "summary", "--url", server.url.replace("http:", "HTTP:"))
    assert server.last.headers["Authorization"] == "Bearer the-key"


def test_each_server_has_its_key_and_the_last_login_is_the_default(
    bare_run: Run, server: Server, login_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers(EVENTS)
    bare_run("login", "--url", f"{server.url}/a", stdin="key-a")
    bare_run("login", "--url", f"{server.url}/b", stdin="key-b")
    bare_run("login", "--url", f"{server.url}/b", stdin="key-c")
    for arguments in ([], ["--url", f"{server.url}/a"]):
        bare_run("costs", "summary", *arguments)
    monkeypatch.setenv("GLOW_TOKEN", "from-the-environment")
    bare_run("costs", "summary")

    keys = [(request.path, request.headers["Authorization"].split()[1]) for request in server.requests[3:]]
    assert keys == [
        ("/b/costs/summary", "key-c"),
        ("/a/costs/summary", "key-a"),
        ("/b/costs/summary", "from-the-environment"),
    ]
    assert login_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"error": "missing scope: this needs costs:read.", "code": "missing_scope"}),
        (403, {"error": "The Free plan has no API access.", "code": "plan_without_api"}),
        (422, {"error": "organization: say which one.", "code": "invalid", "fields": {"organization": ["say"]}}),
    ],
)
def test_a_key_that_may_not_read_is_good_too(
    status: int, body: Any, bare_run: Run, server: Server, login_file: Path
) -> None:
    server.answers(body, status)
    assert bare_run("login", "--url", server.url, stdin="key").code == 0
    assert json.loads(login_file.read_text())["instances"] == {server.url: {"token": "key"}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {"error": "unknown key", "code": "unauthorized"}, "Authentication failed (HTTP 401): unknown key"),
        (403, {"error": "no", "code": "forbidden"}, "Permission denied (HTTP 403): no"),
        (404, b"<html>", "Resource not found (HTTP 404)"),
        (422, {"error": "no", "code": "invalid"}, "API error (HTTP 422): no"),
        (200, b"<html>", "does not respond like a costtrack server"),
        (200, [], "does not respond like a costtrack server"),
    ],
)
def test_a_key_that_does_not_work_is_not_stored(
    status: int, body: Any, expected: str, bare_run: Run, server: Server, login_file: Path
) -> None:
    server.answers(body, status)
    done = bare_run("login", "--url", server.url, stdin="key")
    assert done.code == 1
    assert expected in done.err
    assert not login_file.exists()


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["--url", "http://127.0.0.1:9"], ""),
        (["--url", "http://127.0.0.1:9"], "two words"),
        ([], "key"),
        (["x"], "key"),
    ],
)
def test_wrong_arguments(arguments: list[str], stdin: str, bare_run: Run) -> None:
    assert bare_run("login", *arguments, stdin=stdin).code == 2


def test_plain_http_gets_a_warning_before_the_key_is_sent(bare_run: Run) -> None:
    done = bare_run("login", "--url", "http://0.0.0.0:9", stdin="key")
    assert done.code == 3
    assert done.err.startswith("costtrack: warning: http://0.0.0.0:9 is not encrypted")


@pytest.mark.parametrize("content", ["", "{", "\x00", '{"instances": '])
def test_a_file_that_cannot_be_read_is_said(content: str, bare_run: Run, login_file: Path) -> None:
    login_file.parent.mkdir(parents=True)
    login_file.write_text(content)
    done = bare_run("costs", "summary")
    assert done.code == 1
    assert done.err.startswith(f"costtrack: {login_file} cannot be read (")


@pytest.mark.parametrize("content", ["[]", "5", '{"instances": 5}', '{"default": 5, "instances": {"x": 5}}'])
def test_a_file_of_another_shape_is_as_good_as_none(
    content: str, bare_run: Run, server: Server, login_file: Path
) -> None:
    login_file.parent.mkdir(parents=True)
    login_file.write_text(content)
    assert bare_run("costs", "summary", "--url", "https://spend.example").code == 2
    server.answers(EVENTS)
    assert bare_run("login", "--url", server.url, stdin="key").code == 0


def test_a_folder_that_cannot_be_written_is_one_line(bare_run: Run, server: Server, home: Path) -> None:
    home.write_text("a file where the home should be")
    server.answers(EVENTS)
    done = bare_run(
        "login",
        "--url",
        server.url,
        stdin="key",
    )
    assert done.code == 1
    assert done.err.count("\n") == 1
