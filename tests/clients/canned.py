"""A provider with canned answers, for programs in the environments of the clients.

`python usages.py` of a client prints what its own types make of these answers, one JSON object a line: the name of the
case, the service and model of the call, and the usage as a program would send it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Provider(ThreadingHTTPServer):
    """Answers each request with the next answer: an object as JSON, a list as the events of a stream."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def will_answer(self, answer: Any) -> None:
        self.answers.append(answer)


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.answers.pop(0)
        is_stream = isinstance(answer, list)
        body = "".join(map(_event, answer)) if is_stream else json.dumps(answer)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if is_stream else "application/json")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _event(data: Any) -> str:
    """An event of a stream. Those of Anthropic and of OpenAI's Responses have their type as a name."""
    name = f"event: {data['type']}\n" if isinstance(data, dict) and "type" in data else ""
    return f"{name}data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


@contextmanager
def provider() -> Iterator[Provider]:
    server = Provider()
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def report(name: str, service: str, model: str, usage: Any, **fields: Any) -> None:
    """Print a case. Amounts become texts, as most programs write them."""
    case = {"name": name, "service": service, "model": model, "usage": usage, **fields}
    print(json.dumps(case, default=str))
