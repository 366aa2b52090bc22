"""A minimal HTTP client with little overhead: requests are prepared in advance, and a response is read by its
length."""

import json
import re
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self
from urllib.parse import urlsplit

PROCESSES = 2
"""The number of the web server's processes under `costtrack up`."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PIECE = 1 << 18
_TIMEOUT_SECONDS = 300
_PATIENCE = 200


class RefusedError(AssertionError):
    """The response of a request has a status other than 200 and 201."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer[:2000])
        self.status = int(answer[len(b"HTTP/1.1 ") :][:3])


class Connection:
    """One keep-alive connection, reopened if the server has closed it. Statuses other than 200 and 201 raise a
    RefusedError."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._address = str(address.hostname), address.port or 80
        self._open()

    def _open(self) -> None:
        self._socket = socket.create_connection(self._address, _TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def exchange(self, request: bytes) -> bytes:
        """Send one prepared request, and return the body of the response."""
        self._socket.sendall(request)
        answer = self._receive()
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._receive()
        length = _LENGTH.search(answer, 0, end)
        assert length is not None, answer[:end]
        total = end + 4 + int(length[1])
        while len(answer) < total:
            answer += self._receive()
        if b"\r\nconnection: close" in answer[:end].lower():
            self._socket.close()
            self._open()
        if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise RefusedError(answer)
        return answer[end + 4 :]

    def seconds_of_each(self, requests: Sequence[bytes]) -> list[float]:
        """Send the requests one after the other, and return the seconds of each."""
        taken = []
        for request in requests:
            started = time.perf_counter()
            self.exchange(request)
            taken.append(time.perf_counter() - started)
        return taken

    def json(self, request: bytes) -> Any:
        return json.loads(self.exchange(request))

    def _receive(self) -> bytes:
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise ConnectionError("The server has closed the connection.")
        return piece


def _lines(headers: Sequence[str]) -> str:
    return "".join(f"{header}\r\n" for header in headers)


class Caller:
    """Builds requests with an API key."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url
        self._common = f"Host: {urlsplit(url).netloc}\r\nAuthorization: Bearer {api_key}\r\n"

    def get(self, path: str, *headers: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\n{self._common}{_lines(headers)}\r\n".encode()

    def post(self, path: str, body: bytes, *headers: str, content_type: str = "application/json") -> bytes:
        lines = _lines((f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers))
        return f"POST {path} HTTP/1.1\r\n{self._common}{lines}\r\n".encode() + body

    def connect(self) -> Connection:
        return Connection(self.url)

    def process_behind(self, connection: Connection) -> int:
        return int(connection.json(self.get("/bare/worker"))["pid"])

    def seconds_for(self, requests: Sequence[bytes], connections: int) -> float:
        """Send all requests over this many connections, and return the seconds until all have a response."""
        return self.measure(requests, connections)[0]

    def measure(self, requests: Sequence[bytes], connections: int) -> tuple[float, list[float]]:
        """Return the seconds until all requests have a response, and the seconds of each. Connections are spread,
        because with two of them one process might do all the work."""
        with ExitStack() as stack:
            opened = self.spread(stack, connections)
            shares = [requests[number::connections] for number in range(connections)]
            pool = stack.enter_context(ThreadPoolExecutor(connections))
            started = time.perf_counter()
            durations = list(pool.map(Connection.seconds_of_each, opened, shares))
            return time.perf_counter() - started, [taken for share in durations for taken in share]

    def spread(self, stack: ExitStack, connections: int) -> list[Connection]:
        """Open connections that are distributed over the server's processes as evenly as possible."""
        by_process: dict[int, list[Connection]] = {}
        for _ in range(connections + _PATIENCE):
            connection = stack.enter_context(self.connect())
            by_process.setdefault(self.process_behind(connection), []).append(connection)
            fair = -(-connections // PROCESSES)
            chosen = [connection for opened in by_process.values() for connection in opened[:fair]]
            if len(chosen) >= connections:
                return chosen[:connections]
        raise AssertionError(f"No way to spread {connections} connections over the server's processes.")
