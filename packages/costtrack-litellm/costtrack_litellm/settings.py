"""The settings of the callback, from environment variables."""

import os
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

_MEGABYTE = 1 << 20


def _setting(name: str, default: str) -> str:
    """Return the variable or, if it is unset or empty, the default."""
    return os.environ.get(name, "").strip() or default


def _choice(name: str, *choices: str) -> str:
    """Return one of the choices; the first one is the default. Raises ValueError."""
    value = _setting(name, choices[0])
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, but must be one of: {', '.join(choices)}.")
    return value


def _number(name: str, default: str) -> Decimal:
    value = _setting(name, default)
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise ValueError(f"{name} is {value!r}, but must be a number that is not negative.")
    return number


@dataclass(frozen=True)
class Settings:
    """The settings, from environment variables `COSTTRACK_...`. Raises ValueError that names the invalid variable."""

    url: str = field(default_factory=lambda: _setting("COSTTRACK_URL", "http://127.0.0.1:8000").rstrip("/"))
    token: str = field(default_factory=lambda: _setting("COSTTRACK_TOKEN", ""), repr=False)
    authorizes: bool = field(default_factory=lambda: _choice("COSTTRACK_MODE", "authorize", "report") == "authorize")
    """If False, calls are reported but never authorized."""
    timeout: float = field(default_factory=lambda: float(_number("COSTTRACK_TIMEOUT_MS", "500")) / 1000)
    refuses_in_outage: bool = field(
        default_factory=lambda: _choice("COSTTRACK_IN_OUTAGE", "allow", "refuse") == "refuse"
    )
    max_tokens: int = field(default_factory=lambda: int(_number("COSTTRACK_MAX_TOKENS", "4096")))
    """Output tokens to reserve if the call does not limit its output."""
    other_usd: str = field(default_factory=lambda: f"{_number('COSTTRACK_OTHER_CALLS_USD', '0.05'):f}")
    """The amount to reserve for a call whose tokens cannot be counted: an image, speech, a rerank."""
    ttl_seconds: int = field(default_factory=lambda: int(_number("COSTTRACK_TTL_SECONDS", "600")))
    end_user_as_user: bool = field(
        default_factory=lambda: _choice("COSTTRACK_END_USER_AS_USER", "false", "true") == "true"
    )
    """Whether the end user (OpenAI's parameter `user`) is the user of a call without another user."""
    queue_folder: Path = field(default_factory=lambda: Path(_setting("COSTTRACK_QUEUE", str(_default_queue_folder()))))
    """Where usage is stored until costtrack has it. Processes that use one API key share a folder."""
    queue_bytes: int = field(default_factory=lambda: int(_number("COSTTRACK_QUEUE_MB", "1024")) * _MEGABYTE)
    """The maximum size of the queue on disk; a call takes 1 to 2 KB."""


def _default_queue_folder() -> Path:
    """Return a folder for the API key's Client ID, so that usage is sent with the key that was in use."""
    state = Path(_setting("XDG_STATE_HOME", str(Path.home() / ".local" / "state")))
    client_id = _setting("COSTTRACK_TOKEN", "").partition(".")[0]
    return state / "costtrack-litellm" / (re.sub(r"[^A-Za-z0-9_-]", "", client_id)[:64] or "default")
