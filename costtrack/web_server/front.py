"""What happens to a request before Django: it is collected, admitted or refused, and given to a thread."""

import asyncio
import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from costtrack.error_formats import Failure
from costtrack.error_pages import dialect_of_path
from costtrack.web_server.bodies import (
    BodyCollector,
    BodyTooSlowError,
    ByteBudget,
    ClientGoneError,
    NoMemoryError,
    Receive,
    RefusedBody,
    drain,
)
from costtrack.web_server.bridge import Application, Exchange, Scope, Send, build_environ
from costtrack.web_server.callers import CALLER, Caller
from costtrack.web_server.connections import Client, Connections
from costtrack.web_server.thread_pool import Job, ThreadPool
from costtrack.web_server.web_limits import BODY_BYTES, MAX_URL_BYTES, RETRY_AFTER_SECONDS, WebLimits

logger = logging.getLogger(__name__)

_HEALTH = "/healthz"
_CREDENTIAL_HEADERS = frozenset({b"authorization", b"x-api-key", b"x-alphaneural-api-key"})
_TICK_SECONDS = 0.05

GetMaxBytes = Callable[[str], int]
IsAuthentic = Callable[[dict[str, Any]], bool]


class OverloadedError(Exception):
    """No thread will be free soon."""


class _Head:
    """What the headers say about the body and the caller."""

    def __init__(self, scope: Scope) -> None:
        self.length: int | None = None
        expects_continue = False
        is_chunked = False
        credentials: list[bytes] = []
        for name, value in scope["headers"]:
            if name in _CREDENTIAL_HEADERS:
                credentials.append(value)
            elif name == b"content-length":
                self.length = int(value) if value.isdigit() else None
            elif name == b"transfer-encoding":
                is_chunked = True
            elif name == b"expect":
                expects_continue = True
        self.credentials = b"\0".join(credentials)
        if is_chunked:  # which takes precedence over a length
            self.has_body, self.length = True, None
        elif self.length is not None:
            self.has_body = self.length > 0
        else:  # HTTP/2 needs neither header
            self.has_body = scope["http_version"] == "2" and scope["method"] in ("POST", "PUT", "PATCH")
        self.is_sent_anyway = self.has_body and not expects_continue
        """Whether the client sends the body before it has seen any response."""


class Front:
    """The ASGI application.

    `get_max_bytes` returns how large a body the endpoint of a path accepts from callers with a credential;
    `is_authentic` asks the database whether a WSGI environment has one.
    """

    def __init__(
        self, application: Application, limits: WebLimits, *, get_max_bytes: GetMaxBytes, is_authentic: IsAuthentic
    ) -> None:
        self._application = application
        self._limits = limits
        self._get_max_bytes = get_max_bytes
        self._is_authentic = is_authentic
        self._pool = ThreadPool(limits.threads, queue_size=limits.queue_size, share=limits.tenant_share)
        # A probe must not wait behind other requests.
        self._health_pool = ThreadPool(1, queue_size=limits.queue_size, name="health")
        self._streams = threading.BoundedSemaphore(max(1, limits.threads // 2))
        self._budget = ByteBudget(limits.body_memory)
        self._connections = Connections(limits)
        self._connections.start_sweeping()
        self._finished: deque[asyncio.Future[None]] = deque()
        self._unfinished = 0
        self._is_ticking = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._settle_finished()
        client = _client(scope)
        closes = self._connections.begin(client) and scope["http_version"] == "1.1"
        try:
            await self._respond(scope, receive, send, closes=closes)
        finally:
            self._connections.end(client)

    async def _respond(self, scope: Scope, receive: Receive, send: Send, *, closes: bool) -> None:
        head = _Head(scope)
        caller = Caller(head.credentials)
        collector = BodyCollector(receive, self._limits, self._budget, is_known=caller.is_known)
        try:
            if len(scope["path"]) + len(scope["query_string"]) > MAX_URL_BYTES:
                failure = Failure(414, "url_too_long", f"The URL is longer than {MAX_URL_BYTES} bytes.")
            else:
                body: bytes | RefusedBody = b""
                if head.has_body:
                    body = await collector.collect(head.length, partial(self._max_bytes, scope, caller))
                environ = build_environ(scope, body)
                environ[CALLER] = caller
                exchange = Exchange(
                    environ, receive, send, timeout=self._limits.response_timeout, closes_connection=closes
                )
                await self._run(scope, caller, exchange, drains=isinstance(body, RefusedBody) and head.is_sent_anyway)
                return
        except OverloadedError:
            failure = _overloaded("The server is busy. Try again.")
        except NoMemoryError:
            failure = _overloaded("The server is receiving too much at once. Try again.")
        except BodyTooSlowError as error:
            await self._refuse(scope, send, Failure(408, "body_timeout", str(error)))
            return
        except ClientGoneError:
            return
        finally:
            self._budget.give_back(collector.size)
        await self._refuse(scope, send, failure)
        if head.is_sent_anyway and not await drain(receive):
            self._end_half_sent(scope)

    async def _max_bytes(self, scope: Scope, caller: Caller) -> int:
        """Return how large the body may be. Only who has a credential may send more than the usual limit."""
        allowed = self._get_max_bytes(scope["path"])
        if allowed <= BODY_BYTES or caller.is_known:
            return allowed
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()
        environ = build_environ(scope)

        def ask() -> None:
            is_authentic = False
            try:
                is_authentic = self._is_authentic(environ)
            except Exception:
                logger.exception("a credential was not checked")
            loop.call_soon_threadsafe(answer.set_result, is_authentic)

        self._submit(self._pool, caller, ask)
        return allowed if await answer else BODY_BYTES

    async def _run(self, scope: Scope, caller: Caller, exchange: Exchange, *, drains: bool) -> None:
        loop = asyncio.get_running_loop()
        finished: asyncio.Future[None] = loop.create_future()
        pool = self._health_pool if scope["path"] == _HEALTH else self._pool
        self._submit(pool, caller, partial(self._work, scope, exchange, finished))
        self._unfinished += 1
        self._tick_soon(loop)
        has_ended = not drains or await drain(exchange.receive)
        await finished
        if exchange.is_broken:
            self._connections.abort(_client(scope))
        elif not has_ended:
            self._end_half_sent(scope)

    def _end_half_sent(self, scope: Scope) -> None:
        """Close the connection of a refused body that does not end. An HTTP/2 connection may have other requests."""
        if scope["http_version"] != "2":
            self._connections.abort(_client(scope))

    @staticmethod
    def _submit(pool: ThreadPool, caller: Caller, job: Job) -> None:
        if not pool.submit(caller.tenant, job, share=caller.share):
            raise OverloadedError

    def _work(self, scope: Scope, exchange: Exchange, finished: "asyncio.Future[None]") -> None:
        """In a thread of the pool."""
        try:
            exchange.run(self._application, self._streams, partial(_refusal, scope, _overloaded("Too many downloads.")))
        except Exception:
            logger.exception("a request failed")
        finally:
            self._finished.append(finished)

    # A request that has been answered ends on the event loop. Waking the loop for each would cost more than this.

    def _settle_finished(self) -> None:
        while self._finished:
            finished = self._finished.popleft()
            self._unfinished -= 1
            if not finished.done():
                finished.set_result(None)

    def _tick_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._is_ticking:
            self._is_ticking = True
            loop.call_later(_TICK_SECONDS, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._settle_finished()
        self._is_ticking = False
        if self._unfinished:
            self._tick_soon(loop)

    async def _refuse(self, scope: Scope, send: Send, failure: Failure) -> None:
        logger.warning("request refused", extra={"status": failure.status, "reason": failure.code})
        for message in _refusal(scope, failure):
            await send(message)


def _client(scope: Scope) -> Client:
    host, port = scope["client"]
    return host, int(port)  # granian's is a text


def _overloaded(message: str) -> Failure:
    return Failure(503, "overloaded", message, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _refusal(scope: Scope, failure: Failure) -> list[dict[str, Any]]:
    """Return the messages of an error in the format of the path's API family."""
    body = json.dumps(dialect_of_path(scope["path"]).body(failure)).encode()
    headers = {**failure.headers, "Content-Type": "application/json", "Content-Length": str(len(body))}
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return [
        {"type": "http.response.start", "status": failure.status, "headers": encoded},
        {"type": "http.response.body", "body": body},
    ]
