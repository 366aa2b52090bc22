"""A server that webhooks are sent to: a real one on loopback, which answers as it is configured."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(frozen=True)
class Reply:
    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: threading.Event | None = None
    """Answered when this is set; before, the sender waits."""


class Receiver:
    """`replies` are used up one by one, and after them `default`; `received` has what came, in order."""

    def __init__(self, server: ThreadingHTTPServer, scheme: str) -> None:
        self.port = int(server.server_address[1])
        self.url = f"{scheme}://127.0.0.1:{self.port}/hooks"
        self.default = Reply()
        self.replies: deque[Reply] = deque()
        self.received: list[Received] = []
        self.came = threading.Semaphore(0)
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def answer(self, received: Received) -> Reply:
        with self._lock:
            self.received.append(received)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            reply = self.replies.popleft() if self.replies else self.default
        self.came.release()
        if reply.after is not None:
            reply.after.wait(60)
        with self._lock:
            self._at_once -= 1
        return reply


@contextmanager
def receiving(tls: SSLContext | None = None) -> Iterator[Receiver]:
    """A server for the length of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = receiver.answer(Received(self.path, headers, body))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status >= 200 and reply.status != 204:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST  # noqa: N815 - the base's name; whoever follows a redirect would come with GET

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Not to the tests' output."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                """The sender did not wait for the answer."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A handshake that the sender broke off is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver = Receiver(server, "http" if tls is None else "https")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
