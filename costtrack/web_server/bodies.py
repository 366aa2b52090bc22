"""Request bodies, collected on the event loop: bounded in size, in time, and in memory over all connections."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from django.core.exceptions import RequestDataTooBig

from costtrack.web_server.web_limits import BODY_BYTES, DRAIN_SECONDS, MAX_DRAINED_BYTES, WebLimits

Receive = Callable[[], Awaitable[dict[str, Any]]]
GetLimit = Callable[[], Awaitable[int]]


class BodyTooSlowError(Exception):
    """Too little arrived for too long."""


class NoMemoryError(Exception):
    """The memory for bodies is used up by other requests."""


class ClientGoneError(Exception):
    """The connection ended in the middle of the body."""


class RefusedBody:
    """The `wsgi.input` of a request whose body was too large to be collected. Django checks the credential
    first, and responds in the format of the endpoint."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def read(self, *_: object) -> NoReturn:
        raise RequestDataTooBig(f"The body is larger than {self._limit} bytes.")

    readline = read


class ByteBudget:
    """The memory for bodies. It belongs to the event loop, so it needs no lock."""

    def __init__(self, size: int) -> None:
        self._free = size

    def take(self, size: int, *, reserve: int) -> None:
        """Take memory, unless less than `reserve` would be left."""
        if size > self._free - reserve:
            raise NoMemoryError
        self._free -= size

    def give_back(self, size: int) -> None:
        self._free += size


class BodyCollector:
    """Collects one body. `size` is the memory it has taken, which is returned after the request.

    Callers whose credential was not verified before may only use half of the memory, so that they cannot keep out
    verified ones.
    """

    def __init__(self, receive: Receive, limits: WebLimits, budget: ByteBudget, *, is_known: bool) -> None:
        self._receive = receive
        self._limits = limits
        self._budget = budget
        self._reserve = 0 if is_known else limits.body_memory // 2
        self.size = 0

    async def collect(self, length: int | None, get_limit: GetLimit) -> bytes | RefusedBody:
        """Return the body if it is not too large. `get_limit` returns the size that this endpoint accepts from this
        caller; it is called only above the usual limit. `length` is the Content-Length, if there is one."""
        limit = BODY_BYTES
        if (length or 0) > limit and (length or 0) > (limit := await get_limit()):
            return RefusedBody(limit)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.body_timeout
        chunks: list[bytes] = []
        try:
            async with asyncio.timeout(self._limits.body_idle_timeout) as timeout:
                while length is None or self.size < length:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        raise ClientGoneError
                    chunk: bytes = message["body"]
                    if self.size + len(chunk) > limit:
                        timeout.reschedule(end)
                        if self.size + len(chunk) > (limit := await get_limit()):
                            return RefusedBody(limit)
                    self._budget.take(len(chunk), reserve=self._reserve)
                    self.size += len(chunk)
                    chunks.append(chunk)
                    if not message["more_body"]:
                        break
                    timeout.reschedule(min(loop.time() + self._limits.body_idle_timeout, end))
        except TimeoutError as error:
            limits = f"within {self._limits.body_idle_timeout:g} s, and in all within {self._limits.body_timeout:g} s"
            raise BodyTooSlowError(f"The body did not arrive in time: each part must arrive {limits}.") from error
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def drain(receive: Receive) -> bool:
    """Read and drop what the client is still sending, within bounds. A connection that is closed with unread data is
    reset, and the client may lose the response. Returns whether the body has ended."""
    dropped = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            while dropped <= MAX_DRAINED_BYTES:
                message = await receive()
                if message["type"] != "http.request" or not message["more_body"]:
                    return True
                dropped += len(message["body"])
    except TimeoutError:
        pass
    return False
