"""Parse and check the URLs of webhooks, when they are saved and again when they are used."""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import SplitResult, urlsplit

from billing.notifications.addresses import (
    PrivateAddressError,
    Resolve,
    UnknownHostError,
    permitted_addresses,
    private_addresses_are_allowed,
    system_addresses,
)
from costtrack.errors import InvalidError

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
        raise _invalid("Must not contain a user name or a password. Messages are signed instead.")
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
        raise _invalid(str(error)) from error


def display_url(url: str) -> str:
    """Return the URL without path and query, which may contain secrets (Slack's do), for logs and restricted users."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/\u2026"


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH:
        raise _invalid(f"Must be at most {MAX_URL_LENGTH} characters.")
    if not _CHARACTERS.fullmatch(url):
        raise _invalid(
            "Must only contain the characters of a URL (others as %20, names as xn--...), without a fragment (#)."
        )
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _invalid("Invalid URL.") from error
    if parts.scheme not in _schemes():
        raise _invalid(f"Must begin with {' or '.join(f'{scheme}://' for scheme in _schemes())}.")
    if not _names_a_host(parts):
        raise _invalid("Must have a valid host.")
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
        raise _invalid("a port is a number from 1 to 65535.") from error
    if port == 0:
        raise _invalid("a port is a number from 1 to 65535.")
    if not private_addresses_are_allowed() and port != _PORTS["https"] and port < _FIRST_UNRESERVED_PORT:
        raise _invalid(f"Port {port} is not allowed. Use 443, or {_FIRST_UNRESERVED_PORT} and above.")
    return port


def _invalid(reason: str) -> InvalidError:
    return InvalidError(f"url: {reason}", param="url")
