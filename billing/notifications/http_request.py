"""Send one HTTP request to a server outside the installation, which may be slow, unreachable or malicious.

The connection goes to the address that was checked, with the URL's host name for TLS. Redirects are not followed,
nothing is retried, only the beginning of the response is read, and one timeout covers everything.
"""

import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import httpcore2

from billing.notifications.webhook_urls import (
    PrivateAddressError,
    Resolve,
    UnknownHostError,
    parse_url,
    permitted_addresses,
    system_addresses,
)

TIMEOUT_SECONDS = 15.0
MAX_RETRY_AFTER = timedelta(hours=24)
_MAX_PRINTED_BYTES = 4096
_MAX_REPORTED_LENGTH = 200
_MAX_ADDRESSES = 3
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\uffff]+")


@lru_cache(maxsize=1)
def _system_trust() -> ssl.SSLContext:
    """Return the system's certificates; cached, because reading them takes longer than a request."""
    return httpcore2.default_ssl_context()


@dataclass(frozen=True, slots=True)
class Network:
    """How requests are sent. Tests use their own."""

    resolve: Resolve = system_addresses
    trust: Callable[[], ssl.SSLContext] = _system_trust
    timeout_seconds: float = TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class HTTPResponse:
    """A response. `body` ends after `max_body_bytes`, and then `is_cut` is true; `retry_after` is the raw header or
    empty."""

    status: int
    body: bytes
    is_cut: bool
    retry_after: str

    @property
    def text(self) -> str:
        """The printable beginning of the body."""
        return _printable(self.body[:_MAX_PRINTED_BYTES].decode(errors="replace"))


class NoResponseError(Exception):
    """There was no response; the message explains why, in a sentence."""


def send_request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    network: Network,
    body: bytes | None = None,
    max_body_bytes: int = _MAX_PRINTED_BYTES,
) -> HTTPResponse:
    """Send a request once, and return the response, with any status.

    Raises NoResponseError, or InvalidError for a URL that is not allowed.
    """
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
            pool.stream(method, address, headers=sent, content=body) as response,
        ):
            return _read_response(response, max_body_bytes)
    except (UnknownHostError, PrivateAddressError) as error:
        raise NoResponseError(str(error)) from error
    except httpcore2.TimeoutException as error:
        raise NoResponseError(f"No response within {network.timeout_seconds:g} seconds.") from error
    except httpcore2.NetworkError as error:
        raise NoResponseError(_sentence("The connection failed", error)) from error
    except httpcore2.ProtocolError as error:
        raise NoResponseError(_sentence("The response is not HTTP", error)) from error


def parse_retry_after(header: str, *, now: datetime) -> timedelta | None:
    """Parse seconds or an HTTP date (RFC 9110, 10.2.3), at most a day; None if it is neither, or in the past."""
    header = header.strip()
    if header.isascii() and header.isdecimal():
        wait = timedelta(seconds=min(int(header[:9]), MAX_RETRY_AFTER.total_seconds()))
    else:
        try:
            wait = parsedate_to_datetime(header) - now
        except (TypeError, ValueError):  # no date; a date without a time zone
            return None
    return min(wait, MAX_RETRY_AFTER) if wait > timedelta(0) else None


def _read_response(response: httpcore2.Response, max_body_bytes: int) -> HTTPResponse:
    headers = {name.lower(): value for name, value in response.headers}
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > max_body_bytes:
            break
    return HTTPResponse(
        response.status,
        bytes(body[:max_body_bytes]),
        len(body) > max_body_bytes,
        headers.get(b"retry-after", b"").decode("ascii", errors="replace"),
    )


def _printable(text: str) -> str:
    return " ".join(_UNPRINTABLE.sub(" ", text).split())[:_MAX_REPORTED_LENGTH]


def _sentence(what: str, error: Exception) -> str:
    reason = _printable(str(error))
    return f"{what}: {reason}." if reason else f"{what}."


class _Deadline:
    """A deadline shared by all steps of a request."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds

    def seconds_left(self) -> float:
        """Return the remaining seconds, more than 0. Raises httpcore2.TimeoutException after the deadline."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise httpcore2.TimeoutException
        return left


class _CheckedBackend(httpcore2.NetworkBackend):
    """Resolves a host, checks its addresses and connects to one of them, without resolving again.

    The timeout arguments are ignored in favor of the deadline.
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
        for attempt, address in enumerate(addresses, start=1):
            # An address that does not respond, as is common with IPv6, leaves time for the others.
            share = self._deadline.seconds_left() / (len(addresses) - attempt + 1)
            try:
                stream = self._plain.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if attempt == len(addresses):
                    raise
            else:
                return _BoundedStream(stream, self._deadline)
        raise UnknownHostError(f"{host} has no address.")


class _BoundedStream(httpcore2.NetworkStream):
    """A stream whose reads and writes must finish before the deadline."""

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
