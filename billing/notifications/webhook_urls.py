"""Where webhooks may go: what a URL must be like, checked when it is saved and again when it is used."""

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
_LOOKUP_SECONDS = 3  # somebody waits for the answer
_PORTS = {"http": 80, "https": 443}
_FIRST_UNRESERVED_PORT = 1024
_NAME = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")  # of RFC 3986, without the fragment's


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """A URL in the parts that a request is made of. `authority` is as the URL has it: `[2001:db8::1]:8443`."""

    scheme: str
    host: str
    port: int
    authority: str
    target: str


def parse_url(url: str) -> WebhookUrl:
    """Raises InvalidError with a sentence about `url` that says what is wrong. The host is not looked up."""
    parts = _split(url)
    if "@" in parts.netloc:
        raise _invalid("a name and a password do not belong in it; messages are signed instead.")
    port = _port(parts)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebhookUrl(parts.scheme, parts.hostname or "", port, parts.netloc, target)


def check_url(url: str, *, resolve: Resolve = system_addresses) -> None:
    """Raises InvalidError unless webhooks may go there. A name without an address yet is fine: before every connection
    the address is checked anyway."""
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
    """For those who may not manage webhooks, and for logs: paths and queries may hold secrets (Slack's do)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/\u2026"


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH:
        raise _invalid(f"at most {MAX_URL_LENGTH} characters.")
    if not _CHARACTERS.fullmatch(url):
        raise _invalid("only the characters of a URL (write others as %20, names as xn--...), and nothing after a #.")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise _invalid("it cannot be read.") from error
    if parts.scheme not in _schemes():
        raise _invalid(f"it begins with {' or '.join(f'{scheme}://' for scheme in _schemes())}.")
    if not _names_a_host(parts):
        raise _invalid("it names no host.")
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
    """Ports below 1024 belong to other protocols, which must not be spoken to by way of a webhook."""
    try:
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError as error:
        raise _invalid("a port is a number from 1 to 65535.") from error
    if port == 0:
        raise _invalid("a port is a number from 1 to 65535.")
    if not private_addresses_are_allowed() and port != _PORTS["https"] and port < _FIRST_UNRESERVED_PORT:
        raise _invalid(f"port {port} is none that webhooks go to: 443, or from {_FIRST_UNRESERVED_PORT} on.")
    return port


def _invalid(reason: str) -> InvalidError:
    return InvalidError(f"url: {reason}", param="url")
