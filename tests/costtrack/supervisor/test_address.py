"""Where the web server listens."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from costtrack.supervisor.address import Address
from costtrack.supervisor.folder import StackError


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StackError) as error:
            Address("127.0.0.1", port).ensure_free()
    assert str(error.value) == (
        f"cannot listen on 127.0.0.1, port {port}: address already in use by process {os.getpid()}; "
        f"end it with `kill {os.getpid()}`, or try --port or --host"
    )
    Address("127.0.0.1", port).ensure_free()


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_host_is_one_line(host: str) -> None:
    with pytest.raises(StackError, match=f"cannot listen on {host}"):
        Address(host, 8000).ensure_free()


def test_the_address_is_shown_as_it_was_given() -> None:
    assert Address("127.0.0.1", 8000).url == "http://127.0.0.1:8000"
    assert Address("::1", 8000).url == "http://[::1]:8000"


def test_requests_may_name_the_host_that_was_given() -> None:
    assert Address("localhost", 8000).allowed_hosts == ["localhost", "127.0.0.1"]
    assert Address("127.0.0.1", 8000).allowed_hosts == ["127.0.0.1"]
    assert Address("::1", 8000).allowed_hosts == ["[::1]"]
    assert Address("0.0.0.0", 8000).allowed_hosts == ["127.0.0.1", socket.gethostname()]  # noqa: S104


@contextmanager
def answering(status: int, body: bytes) -> Iterator[Address]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield Address("127.0.0.1", server.server_port)
        server.shutdown()
        thread.join()


def test_ready_is_what_readyz_says() -> None:
    with answering(200, b"{}") as address:
        assert address.what_is_missing() is None
    body = b'{"checks": {"redis": {"ok": true, "state": "reachable"}, "worker": {"ok": false, "state": "not running"}}}'
    with answering(503, body) as address:
        assert address.what_is_missing() == "worker is not running"
    with answering(400, b"") as address:
        assert address.what_is_missing() == "/readyz responds with 400"
    assert address.what_is_missing() == "the web server does not respond"
