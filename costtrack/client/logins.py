"""The API keys that `costtrack login` stores, one per server, in a private file.

{"default": "https://spend.example", "instances": {"https://spend.example": {"token": "..."}}}
"""

import json
import os
from pathlib import Path
from typing import Any

from costtrack.client.errors import ClientError
from costtrack.client.files import replace_privately


def file() -> Path:
    """Return the path, below XDG_CONFIG_HOME (~/.config by default)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "costtrack" / "logins.json"


def default_url() -> str:
    """Return the server of the last login, or an empty string."""
    url = _read()["default"]
    return url if isinstance(url, str) else ""


def token_for(url: str) -> str:
    """Return the key for a server, or an empty string."""
    login = _read()["instances"].get(url)
    token = login.get("token") if isinstance(login, dict) else None
    return token if isinstance(token, str) else ""


def remember(url: str, token: str) -> None:
    """Store the key, and make this server the default."""
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
