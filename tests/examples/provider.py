"""A provider of models on loopback, with OpenAI's API, whose models behave as their names say; and a relay before
costtrack that can be shut."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

WORDS = ("These ", "are ", "some ", "neutral ", "words.")
PROMPT_TOKENS, ANSWER_TOKENS = 1000, 500
# What the provider says of every call that it finishes.
USAGE = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": ANSWER_TOKENS, "total_tokens": 1500}
MODELS = ("fine", "failing", "broken", "stuck")


class Provider(ThreadingHTTPServer):
    """`fine` answers, `failing` is a 500, `broken` breaks its stream off, `stuck` goes silent after some words (or at
    once, when nothing is streamed) until the test is over."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Model)
        self.calls: list[str] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Tests are silent."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Model(_Handler):
    server: Provider

    def do_POST(self) -> None:
        request = json.loads(self.body())
        self.server.calls.append(request["model"])
        answer = {"id": f"call-{len(self.server.calls)}", "created": 1, "model": request["model"], "usage": USAGE}
        if request["model"] == "failing":
            self.answer(500, b'{"error": {"message": "It fails.", "type": "server_error", "code": "500"}}')
        elif request.get("stream"):
            self._stream({**answer, "object": "chat.completion.chunk"}, request["model"])
        else:
            if request["model"] == "stuck":
                self.server.over.wait(60)
            message = {"role": "assistant", "content": "".join(WORDS)}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            self.answer(200, json.dumps({**answer, "object": "chat.completion", "choices": [choice]}).encode())

    def _stream(self, answer: dict[str, Any], model: str) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        if model == "broken":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        usage = answer.pop("usage")
        for number, word in enumerate(WORDS):
            if number == 3 and model != "fine":
                if model == "stuck":
                    self.server.over.wait(60)
                return
            delta = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
            self._send({**answer, "choices": [delta]}, chunked=model == "broken")
        self._send({**answer, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._send({**answer, "choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")

    def _send(self, chunk: dict[str, Any], *, chunked: bool = False) -> None:
        line = b"data: " + json.dumps(chunk).encode() + b"\n\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line) if chunked else line)
        self.wfile.flush()


class Relay(ThreadingHTTPServer):
    """Passes everything on to costtrack while it is open; notes what came through."""

    daemon_threads = True
    request_queue_size = 128  # with the default of 5, some of 20 calls at once are turned away

    def __init__(self, costtrack: str) -> None:
        super().__init__(("127.0.0.1", 0), _RelayHandler)
        self.costtrack = costtrack
        self.requests: list[str] = []
        self.answered: list[int] = []
        self.is_open = threading.Event()
        self.is_open.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _RelayHandler(_Handler):
    server: Relay

    def _pass(self) -> None:
        body = self.body()
        self.server.requests.append(f"{self.command} {self.path}")
        self.server.is_open.wait(60)
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        url = self.server.costtrack + self.path
        try:
            passed = httpx.request(self.command, url, content=body, headers=headers, timeout=30)
            forwarded_names = ("content-type", "retry-after", "x-ratelimit-reset", "x-should-retry", "cache-control")
            forwarded = {name: value for name, value in passed.headers.items() if name in forwarded_names}
            self.server.answered.append(passed.status_code)
            self.answer(passed.status_code, passed.content, **forwarded)
        except (httpx.HTTPError, OSError):  # the test is over, or who asked has gone
            self.close_connection = True

    def do_PUT(self) -> None:
        """For programs: `/open` and `/shut`. The answer is what has arrived so far."""
        (self.server.is_open.set if self.path == "/open" else self.server.is_open.clear)()
        self.answer(200, json.dumps(self.server.requests).encode())

    do_GET = do_POST = do_DELETE = _pass  # noqa: N815 - http.server calls them so


@contextmanager
def serving(server: Provider | Relay) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        (server.over if isinstance(server, Provider) else server.is_open).set()
        server.shutdown()
        thread.join()
        server.server_close()
