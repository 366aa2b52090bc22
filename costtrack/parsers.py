"""Request bodies of the small JSON endpoints. (Event intake reads its own, larger bodies: `billing.ingest`.)"""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from rest_framework import parsers
from rest_framework.exceptions import ParseError

from costtrack.errors import TooLargeError

MAX_BYTES = 1024 * 1024


def read_limited(stream: Any) -> bytes:
    """The whole body. Raises TooLargeError above 1 MiB, before it is held in memory."""
    body: bytes = stream.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise TooLargeError(f"The body is larger than {MAX_BYTES} bytes.")
    return body


class JSONParser(parsers.JSONParser):
    """JSON in UTF-8, whatever charset the header names (RFC 8259), at most 1 MiB."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        del media_type, parser_context
        body = read_limited(stream)
        try:
            parsed: dict[str, Any] = json.loads(body.decode(), parse_constant=_refuse)
            if b"\\u" in body:
                # Half of a surrogate pair is no character: neither PostgreSQL nor an answer could hold it.
                json.dumps(parsed, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not JSON: {error}") from error
        return parsed


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
