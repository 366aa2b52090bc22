"""Parsing of `COSTTRACK_EMAIL_URL`, the sender and the public URL."""

from dataclasses import dataclass
from email.utils import parseaddr
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True)
class MailServer:
    """Django's settings for sending mail. `folder` is for the backend that writes files."""

    backend: str
    host: str = "localhost"
    port: int = 25
    user: str = ""
    password: str = ""
    starttls: bool = False
    tls: bool = False
    folder: str = ""


def parse_email_url(url: str) -> MailServer:
    """Parse a mail server URL (docs/settings.md lists the schemes). Raises ValueError, whose message does not contain
    the URL, because that may include a password."""
    if url == "console:":
        return MailServer("django.core.mail.backends.console.EmailBackend")
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise ValueError("it must be the absolute path of a folder: file:///var/mail/costtrack.")
        return MailServer("costtrack.mail.folder.EmailBackend", folder=unquote(parts.path))
    if parts.scheme not in _PORTS:
        raise ValueError(f"it must start with {', '.join(f'{scheme}://' for scheme in _PORTS)}, file:// or console:.")
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("it must consist of user, password, host and port only.")
    return MailServer(
        "costtrack.mail.smtp.EmailBackend",
        host=parts.hostname,
        port=parts.port or _PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starttls=parts.scheme == "smtp+starttls",
        tls=parts.scheme == "smtps",
    )


def parse_sender(text: str) -> str:
    """Return the text unchanged if it is a single address, with or without a name: `costtrack <costs@acme.example>`.
    Raises ValueError."""
    _, address = parseaddr(text)
    try:
        validate_email(address)
    except ValidationError as error:
        if not address.endswith("@localhost"):
            raise ValueError(f"{text!r} is not an email address.") from error
    if not text.isprintable():
        raise ValueError("it must be one line.")
    return text


def parse_public_url(url: str) -> str:
    """Return the URL without a trailing slash. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not the URL of a web site.")
    return url.rstrip("/")
