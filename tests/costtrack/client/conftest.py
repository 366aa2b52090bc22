"""A small server on loopback that answers what a test says, and the console script as a function."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from costtrack.cli import main

TOKEN = "ct_test_key"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


HANG_UP = object()


@dataclass(frozen=True)
class Reply:
    """`body` is JSON, or bytes as they are; HANG_UP closes the connection without an answer."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Server:
    """`replies` are used up one by one; the last one stays."""

    url: str
    replies: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def answers(self, body: Any, status: int = 200, **headers: str) -> None:
        """What comes next; headers with underscores for their dashes."""
        self.replies.append(Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()}))

    @property
    def last(self) -> Request:
        return self.requests[-1]


@pytest.fixture
def server() -> Iterator[Server]:
    served: Server

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            served.requests.append(Request(self.command, parts.path, query, dict(self.headers.items()), body))
            reply = served.replies.pop(0) if len(served.replies) > 1 else served.replies[0]
            if reply.body is HANG_UP:
                self.close_connection = True
                return
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - the base class's names

        def log_message(self, *_: object) -> None:
            """Tests look at `requests` instead."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        served = Server(f"http://127.0.0.1:{running.server_port}")
        threading.Thread(target=running.serve_forever, args=[0.01], daemon=True).start()
        yield served
        running.shutdown()


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return [" ".join(line.split()) for line in self.out.splitlines() if line.strip()]


Run = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, and nothing of the client in the environment."""
    for name in ("COSTTRACK_URL", "COSTTRACK_TOKEN", "GLOW_INSTANCE_URL", "GLOW_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    return folder


@pytest.fixture
def bare_run(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `costtrack` with these arguments and this stdin, in an empty home."""

    def _run(*arguments: str, stdin: str | bytes = b"") -> Done:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
        try:
            code = main(arguments)
        except SystemExit as exit_:  # argparse's way out
            code = int(exit_.code or 0)
        return Done(code, *capsys.readouterr())

    return _run


@pytest.fixture
def run(bare_run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same, with the server and a key in the environment."""
    monkeypatch.setenv("COSTTRACK_URL", server.url)
    monkeypatch.setenv("COSTTRACK_TOKEN", TOKEN)
    return bare_run
