"""A mail server and a webhook's receiver that sometimes hang."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HANGING_SHARE, _SECONDS_HANGING = 0.3, 15.0


@contextmanager
def mail_server(chance: random.Random) -> Iterator[str]:
    from aiosmtpd.controller import Controller  # for development only, as this module

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            import asyncio

            del server, session, envelope
            if chance.random() < _HANGING_SHARE:
                await asyncio.sleep(_SECONDS_HANGING)
            return "250 OK"

    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()


@contextmanager
def webhook_receiver(chance: random.Random) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if chance.random() < _HANGING_SHARE:
                time.sleep(_SECONDS_HANGING)
            with suppress(OSError):
                self.send_response(HTTPStatus.NO_CONTENT)
                self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Only figures are printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
