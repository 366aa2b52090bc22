"""Price lists as files or URLs, for commands."""

import json
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from django.core.management.base import CommandError

_TIMEOUT_SECONDS = 60
_MAX_BYTES = 64 * 2**20


def load_price_list(location: str) -> Any:
    """Return the JSON of a file or URL. Raises CommandError."""
    try:
        if location.startswith(("https://", "http://")):
            with urlopen(location, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - the operator names the URL
                return json.loads(response.read(_MAX_BYTES))
        return json.loads(Path(location).read_text(encoding="utf-8"))
    except (OSError, URLError, ValueError) as error:
        raise CommandError(f"{location} cannot be read: {error}.") from error
