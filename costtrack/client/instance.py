"""The server and the API key of a command."""

import argparse
import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from costtrack.client import logins
from costtrack.client.errors import WrongArgumentsError
from costtrack.client.terminal import complain

URL_VARIABLES = ("COSTTRACK_URL", "GLOW_INSTANCE_URL")
TOKEN_VARIABLES = ("COSTTRACK_TOKEN", "GLOW_TOKEN")


@dataclass(frozen=True, slots=True)
class Instance:
    """A server and an API key. `url` has no trailing slash."""

    url: str
    token: str = field(repr=False)
    organization: str | None = None


def find_instance(options: argparse.Namespace) -> Instance:
    """Find the server and key in the flags, the environment, or the last `costtrack login`. Raises WrongArgumentsError
    if one is missing or invalid."""
    address = options.url or from_environment(URL_VARIABLES) or logins.default_url()
    if not address:
        raise WrongArgumentsError("no server: set COSTTRACK_URL, use --url, or run `costtrack login`")
    url = checked_url(address)
    token = options.token or from_environment(TOKEN_VARIABLES) or logins.token_for(url)
    if not token:
        raise WrongArgumentsError(f"no API key for {url}: set COSTTRACK_TOKEN, or run `costtrack login`")
    instance = Instance(url, checked_token(token), options.organization)
    warn_of_plain_http(url)
    return instance


def from_environment(names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")


def checked_url(text: str) -> str:
    """Validate and normalize a URL: scheme and host in lower case, without a trailing slash."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, brackets that do not close
        is_address = False
    if not (is_address and text.isascii() and text.isprintable() and " " not in text):
        raise WrongArgumentsError(f"{text!r} is not a URL like https://spend.example")
    if parts.username is not None or parts.query or parts.fragment:
        raise WrongArgumentsError("the URL must consist of scheme, host, port and path only; use --token for the key")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def checked_token(text: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise WrongArgumentsError("the API key contains invalid characters")
    return token


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")


def warn_of_plain_http(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        complain(f"warning: {url} is not encrypted: the API key can be intercepted")
