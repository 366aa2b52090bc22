"""Validation of webhook URLs and of the network addresses behind them, when a webhook is saved and again at every
connection (protection against server-side request forgery).

A user who adds a webhook chooses where this server sends requests. They must not reach internal services, such as the
cloud's metadata or the database. Addresses are checked instead of names, because a name can be written in many ways and
may resolve to another address a second later (DNS rebinding).
"""

import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from queue import Empty, SimpleQueue
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from costtrack.errors import field_error

Resolve = Callable[[str, int], Sequence[str]]
"""Resolves a host name and a port to addresses, the preferred ones first. Raises OSError or UnicodeError if there are
none."""

_MAPPED_BY_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all of IPv6 that is allocated so far
# Ranges that `ipaddress` considers global in some versions of Python, although they are tunnels or not routed.
_REFUSED = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)


class UnknownHostError(Exception):
    """A name has no address, or was not resolved in time."""


class PrivateAddressError(Exception):
    """A host is not on the public internet."""


def private_addresses_are_allowed() -> bool:
    """COSTTRACK_WEBHOOK_PRIVATE_ADDRESSES: for installations whose webhooks stay inside their own network."""
    return bool(settings.WEBHOOK_PRIVATE_ADDRESSES)


def is_public(address: str) -> bool:
    """Whether an IP address is public. An IPv6 address that embeds an IPv4 address is checked as that."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        ip = _embedded(ip) or ip
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return False
    if ip.is_multicast or ip.is_reserved or not ip.is_global:
        return False
    return not any(ip in network for network in _REFUSED)


def _embedded(ip: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address of `::ffff:10.0.0.1`, or of a NAT64 address (RFC 6052)."""
    if ip in _MAPPED_BY_NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped


def system_addresses(host: str, port: int) -> list[str]:
    """Resolve a host as the system does, including its hosts file and every notation of numbers (`127.1`)."""
    results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in results))


def permitted_addresses(host: str, port: int, *, resolve: Resolve, seconds: float) -> Sequence[str]:
    """Return a host's addresses. Connect to one of exactly these.

    Raises UnknownHostError if there are none within the given seconds, and PrivateAddressError if any of them is not
    public, because a name with both kinds is likely an attack.
    """
    addresses = _resolve_within(host, port, resolve=resolve, seconds=seconds)
    if not private_addresses_are_allowed() and not all(map(is_public, addresses)):
        raise PrivateAddressError(f"{host} is not a public address.")
    return addresses


def _resolve_within(host: str, port: int, *, resolve: Resolve, seconds: float) -> Sequence[str]:
    """Resolve in a thread, because the system's resolver has no timeout."""
    results: SimpleQueue[Sequence[str] | None] = SimpleQueue()

    def look_up() -> None:
        try:
            results.put(resolve(host, port))
        except (OSError, UnicodeError):
            results.put(None)

    threading.Thread(target=look_up, name="webhook-resolver", daemon=True).start()
    try:
        addresses = results.get(timeout=seconds)
    except Empty:
        raise UnknownHostError(f"{host} could not be resolved in time.") from None
    if not addresses:
        raise UnknownHostError(f"{host} has no address.")
    return addresses


MAX_URL_LENGTH = 500
_LOOKUP_SECONDS = 3  # a user is waiting for the response
_PORTS = {"http": 80, "https": 443}
_FIRST_UNRESERVED_PORT = 1024
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")  # of RFC 3986, without the fragment's


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """The parts of a URL that a request needs. `authority` is as in the URL: `[2001:db8::1]:8443`."""

    scheme: str
    host: str
    port: int
    authority: str
    target: str


def parse_url(url: str) -> WebhookUrl:
    """Parse a URL without resolving the host. Raises InvalidError if webhooks may not go there."""
    parts = _split(url)
    if "@" in parts.netloc:
        raise field_error("url", "Must not contain a user name or a password. Messages are signed instead.")
    port = _port(parts)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebhookUrl(parts.scheme, parts.hostname or "", port, parts.netloc, target)


def check_url(url: str, *, resolve: Resolve = system_addresses) -> None:
    """Raise InvalidError unless webhooks may go there.

    A name that has no address yet is accepted, because the address is checked again before every connection.
    """
    parsed = parse_url(url)
    if private_addresses_are_allowed():
        return
    try:
        permitted_addresses(parsed.host, parsed.port, resolve=resolve, seconds=_LOOKUP_SECONDS)
    except UnknownHostError:
        return
    except PrivateAddressError as error:
        raise field_error("url", str(error)) from error


def display_url(url: str) -> str:
    """Return the URL without path and query, which may contain secrets (Slack's do), for logs and restricted users."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/\u2026"


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH:
        raise field_error("url", f"Must be at most {MAX_URL_LENGTH} characters.")
    if not _CHARACTERS.fullmatch(url):
        raise field_error(
            "url",
            "Must only contain the characters of a URL (others as %20, names as xn--...), without a fragment (#).",
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise field_error("url", "Invalid URL.") from error
    if parts.scheme not in _schemes():
        raise field_error("url", f"Must begin with {' or '.join(f'{scheme}://' for scheme in _schemes())}.")
    if not _names_a_host(parts):
        raise field_error("url", "Must have a valid host.")
    return parts


def _names_a_host(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if "[" not in parts.netloc:
        return _NAME.fullmatch(host) is not None
    try:
        return IPv6Address(host).scope_id is None
    except ValueError:
        return False


def _schemes() -> tuple[str, ...]:
    return ("https", "http") if private_addresses_are_allowed() else ("https",)


def _port(parts: SplitResult) -> int:
    """Return the port. Ports below 1024 other than 443 are refused, because they belong to other protocols."""
    try:
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError as error:
        raise field_error("url", "a port is a number from 1 to 65535.") from error
    if port == 0:
        raise field_error("url", "a port is a number from 1 to 65535.")
    if not private_addresses_are_allowed() and port != _PORTS["https"] and port < _FIRST_UNRESERVED_PORT:
        raise field_error("url", f"Port {port} is not allowed. Use 443, or {_FIRST_UNRESERVED_PORT} and above.")
    return port
