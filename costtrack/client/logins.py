"""What `costtrack login` keeps: an API key for each server, in a file that only its owner reads.

{"default": "https://spend.example", "instances": {"https://spend.example": {"token": "..."}}}
"""

import json
import os
from pathlib import Path
from typing import Any

from costtrack.client.errors import ClientError
from costtrack.client.files import replace_privately


def file() -> Path:
    """Follows XDG_CONFIG_HOME, which is ~/.config where it is not set."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "costtrack" / "logins.json"


def default_url() -> str:
    """The server of the last login; empty without one."""
    url = _read()["default"]
    return url if isinstance(url, str) else ""


def token_for(url: str) -> str:
    """The key for a server; empty without a login there."""
    login = _read()["instances"].get(url)
    token = login.get("token") if isinstance(login, dict) else None
    return token if isinstance(token, str) else ""


def remember(url: str, token: str) -> None:
    """Keep the key, and make this server the default."""
    instances = _read()["instances"] | {url: {"token": token}}
    text = json.dumps({"default": url, "instances": instances}, indent=2) + "\n"
    try:
        replace_privately(file(), text)
    except OSError as error:
        raise ClientError(f"{file()} cannot be written: {error.strerror}") from error


def _read() -> dict[str, Any]:
    try:
        content = json.loads(file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        content = {}
    except (OSError, ValueError) as error:
        raise ClientError(f"{file()} cannot be read ({error}): delete it, and run `costtrack login` again") from error
    known = content if isinstance(content, dict) else {}
    instances = known.get("instances")
    return {"default": known.get("default"), "instances": instances if isinstance(instances, dict) else {}}
