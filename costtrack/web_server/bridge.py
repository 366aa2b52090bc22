"""One request as a call of the WSGI application: its environment, and its response, sent from the thread."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from io import BytesIO
from threading import Semaphore
from typing import Any

from costtrack.web_server.bodies import Receive, RefusedBody

Scope = dict[str, Any]
Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

logger = logging.getLogger(__name__)

# A response of up to this size is sent as a whole, even if Django streams it (static files).
_MAX_WHOLE_BYTES = 1024 * 1024
_MAX_HEADER_NAMES = 1000
_BASE: dict[str, Any] = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SCRIPT_NAME": "",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}
_variables: dict[bytes, str] = {}
"""The environment variables of header names. It stops growing, because clients choose the names."""


def build_environ(scope: Scope, body: bytes | RefusedBody = b"") -> dict[str, Any]:
    """Return the environment of PEP 3333."""
    environ = _BASE.copy()
    host, port = scope["server"]
    environ["REQUEST_METHOD"] = scope["method"]
    environ["PATH_INFO"] = scope["path"].encode().decode("latin-1")
    environ["QUERY_STRING"] = scope["query_string"].decode("latin-1")
    environ["SERVER_NAME"], environ["SERVER_PORT"] = host, str(port)
    environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = scope["client"][0], str(scope["client"][1])
    environ["SERVER_PROTOCOL"] = f"HTTP/{scope['http_version']}"
    environ["wsgi.url_scheme"] = scope["scheme"]
    for name, value in scope["headers"]:
        variable = _variables.get(name) or _variable(name)
        text = value.decode("latin-1")
        separator = "; " if variable == "HTTP_COOKIE" else ","
        environ[variable] = f"{environ[variable]}{separator}{text}" if variable in environ else text
    # Chunks have been joined. Django believes that a body without a length is empty.
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    if isinstance(body, RefusedBody):
        environ["CONTENT_LENGTH"], environ["wsgi.input"] = "1", body
    else:
        environ["CONTENT_LENGTH"], environ["wsgi.input"] = str(len(body)), BytesIO(body)
    return environ


def _variable(name: bytes) -> str:
    text = name.decode("latin-1")
    if "_" in text:
        # `X_A` and `X-A` would be the same variable; servers drop the first, which could be a forged one.
        variable = f"costtrack.dropped.{text}"
    else:
        text = text.upper().replace("-", "_")
        variable = text if text in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{text}"
    if len(_variables) < _MAX_HEADER_NAMES:
        _variables[name] = variable
    return variable


class Exchange:
    """One request that Django answers in a thread (`run`). The event loop sends the parts of long responses."""

    def __init__(
        self, environ: dict[str, Any], receive: Receive, send: Send, *, timeout: float, closes_connection: bool
    ) -> None:
        self.receive = receive
        self.is_broken = False
        """The response ended too early: the client must not take it for complete."""
        self._environ = environ
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._closes_connection = closes_connection
        self._client_is_gone = False
        self._status = 500
        self._headers: list[tuple[bytes, bytes]] = []

    def run(self, application: Application, streams: Semaphore, refusal: Callable[[], list[Message]]) -> None:
        """Call the application and send its response. Long responses occupy a thread for as long as the client takes,
        so `streams` bounds them; above that, `refusal` is sent."""
        response = application(self._environ, self._start)
        try:
            if not self._is_long(response):
                self._send_all([self._head(), {"type": "http.response.body", "body": b"".join(response)}])
            elif streams.acquire(blocking=False):
                try:
                    self._send_parts(response)
                finally:
                    streams.release()
            else:
                self._send_all(refusal())
        finally:
            close = getattr(response, "close", None)
            if close is not None:
                close()

    def _start(self, status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
        self._status = int(status[:3])
        self._headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if self._closes_connection:
            self._headers.append((b"Connection", b"close"))

    def _head(self) -> Message:
        return {"type": "http.response.start", "status": self._status, "headers": self._headers}

    def _is_long(self, response: Iterable[bytes]) -> bool:
        if not getattr(response, "streaming", False):
            return False
        length = next((value for name, value in self._headers if name.lower() == b"content-length"), None)
        return length is None or int(length) > _MAX_WHOLE_BYTES

    def _send_all(self, messages: list[Message]) -> None:
        """A response in one part needs no event loop: granian takes it over at once."""
        for message in messages:
            self._send(message)

    def _send_parts(self, response: Iterable[bytes]) -> None:
        try:
            self._on_loop(self._begin())
            for part in response:
                if self._client_is_gone:
                    break
                self._on_loop(self._send_part(part, more=True))
            self._on_loop(self._send_part(b"", more=False))
        except TimeoutError:
            logger.warning("a client did not read its response in time")
            self.is_broken = True
        except Exception:
            logger.exception("a response broke off")
            self.is_broken = True

    def _on_loop(self, work: Coroutine[Any, Any, None]) -> None:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            future.result(self._timeout)
        except TimeoutError:
            future.cancel()
            raise

    async def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch())
        await self._send(self._head())

    async def _watch(self) -> None:
        """Notice when the client goes away: sending does not fail then."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
        self._client_is_gone = True

    async def _send_part(self, part: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": part, "more_body": more})
