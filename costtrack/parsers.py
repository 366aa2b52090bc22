"""Request bodies of the small JSON endpoints. (Event intake reads its own, larger bodies: `billing.ingest`.)"""

import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, NoReturn

from rest_framework import parsers
from rest_framework.exceptions import ParseError

from costtrack.errors import TooLargeError
from costtrack.web_server.web_limits import BODY_BYTES

MAX_BYTES = BODY_BYTES


def read_limited(stream: Any, max_bytes: int = MAX_BYTES) -> bytes:
    """Read the whole body. Raises TooLargeError above `max_bytes`, before it is in memory."""
    body: bytes = stream.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise TooLargeError(f"The body is larger than {max_bytes} bytes.")
    return body


class JSONParser(parsers.JSONParser):
    """Parses JSON in UTF-8, regardless of the charset in the header (RFC 8259), up to `max_bytes`."""

    max_bytes: ClassVar[int] = MAX_BYTES
    fractions: ClassVar[type[float | Decimal]] = float
    """The type of numbers with a fraction; Decimal preserves all their digits."""

    def parse(
        self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        del media_type, parser_context
        body = read_limited(stream, self.max_bytes)
        try:
            parsed: dict[str, Any] = json.loads(
                body.removeprefix(BOM_UTF8).decode(), parse_float=self.fractions, parse_constant=_refuse
            )
            if b"\\u" in body:
                # A lone surrogate is not a character: neither PostgreSQL nor a response can contain it.
                json.dumps(parsed, ensure_ascii=False, default=str).encode()
        except (ValueError, RecursionError) as error:
            raise ParseError(f"The body is not JSON: {error}") from error
        return parsed


class ExactParser(JSONParser):
    """Parses amounts as decimals; a float would keep only 17 digits."""

    fractions: ClassVar[type[float | Decimal]] = Decimal


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
