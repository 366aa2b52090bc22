"""One HTTP request to somebody else's server, who may be slow, gone, or up to no good.

The connection goes to the very address that was checked, with the URL's name for TLS; nothing is followed, nothing is
retried, no more than a little is read, and all of it together ends in time.
"""

import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpcore2

from billing.notifications.addresses import (
    PrivateAddressError,
    Resolve,
    UnknownHostError,
    permitted_addresses,
    system_addresses,
)
from billing.notifications.webhook_urls import parse_url

TIMEOUT_SECONDS = 15.0
_MAX_READ = 4096
_MAX_REPORTED = 200
_MAX_ADDRESSES = 3
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\uffff]+")


@lru_cache(maxsize=1)
def _system_trust() -> ssl.SSLContext:
    """The system's certificates; reading them takes longer than the request."""
    return httpcore2.default_ssl_context()


@dataclass(frozen=True, slots=True)
class Network:
    """How the outside world is reached. Tests have one of their own."""

    resolve: Resolve = system_addresses
    trust: Callable[[], ssl.SSLContext] = _system_trust
    timeout_seconds: float = TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `text` is the beginning of the body, for people; `retry_after` the header as it was, or empty."""

    status: int
    text: str
    retry_after: str


class NoAnswerError(Exception):
    """There was no answer; the message says why, in a sentence."""


def post(url: str, *, headers: Mapping[str, str], body: bytes, network: Network) -> Answer:
    """POST once. Any status is an answer. Raises NoAnswerError, or InvalidError for a URL that is not allowed."""
    target = parse_url(url)
    deadline = _Deadline(network.timeout_seconds)
    backend = _CheckedBackend(network.resolve, deadline)
    address = httpcore2.URL(
        scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.target.encode()
    )
    sent = [(name.encode(), value.encode()) for name, value in {"Host": target.authority, **headers}.items()]
    try:
        with (
            httpcore2.ConnectionPool(ssl_context=network.trust(), network_backend=backend) as pool,
            pool.stream("POST", address, headers=sent, content=body) as response,
        ):
            return _answer_of(response)
    except (UnknownHostError, PrivateAddressError) as error:
        raise NoAnswerError(str(error)) from error
    except httpcore2.TimeoutException as error:
        raise NoAnswerError(f"No answer within {network.timeout_seconds:g} seconds.") from error
    except httpcore2.NetworkError as error:
        raise NoAnswerError(_sentence("The connection failed", error)) from error
    except httpcore2.ProtocolError as error:
        raise NoAnswerError(_sentence("The answer is not HTTP", error)) from error


def _answer_of(response: httpcore2.Response) -> Answer:
    headers = {name.lower(): value for name, value in response.headers}
    body = b""
    for chunk in response.iter_stream():
        body += chunk
        if len(body) >= _MAX_READ:
            break
    text = _printable(body[:_MAX_READ].decode(errors="replace"))
    return Answer(response.status, text, headers.get(b"retry-after", b"").decode("ascii", errors="replace"))


def _printable(text: str) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", text).split())[:_MAX_REPORTED]


def _sentence(what: str, error: Exception) -> str:
    reason = _printable(str(error))
    return f"{what}: {reason}." if reason else f"{what}."


class _Deadline:
    """An instant that every step of an exchange has in common."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def seconds_left(self) -> float:
        """More than 0. Raises httpcore2.TimeoutException when the time is up."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise httpcore2.TimeoutException
        return left


class _CheckedBackend(httpcore2.NetworkBackend):
    """Looks a host up, checks what it finds, and connects to that: nothing is looked up a second time.

    The timeouts that it is called with are not used: the deadline holds for everything.
    """

    def __init__(self, resolve: Resolve, deadline: _Deadline) -> None:
        self._resolve = resolve
        self._deadline = deadline
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        left = self._deadline.seconds_left()
        addresses = permitted_addresses(host, port, resolve=self._resolve, seconds=left)[:_MAX_ADDRESSES]
        for place, address in enumerate(addresses, start=1):
            # An address that does not answer, as IPv6 often does not, leaves time for those that follow.
            share = self._deadline.seconds_left() / (len(addresses) - place + 1)
            try:
                stream = self._plain.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if place == len(addresses):
                    raise
            else:
                return _BoundedStream(stream, self._deadline)
        raise UnknownHostError(f"{host} has no address.")


class _BoundedStream(httpcore2.NetworkStream):
    """Every read and write has only what is left of the time."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.seconds_left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.seconds_left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.seconds_left())
        return _BoundedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
