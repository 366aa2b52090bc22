"""A JSON renderer based on msgspec, which is several times faster than Python's own for larger responses."""

from collections.abc import Mapping
from typing import Any

import msgspec
from rest_framework.renderers import JSONRenderer as RestFrameworkRenderer
from rest_framework.utils.encoders import JSONEncoder

_default = JSONEncoder().default


def _encode_other(value: Any) -> Any:
    """Encode types that msgspec does not know: subclasses of str (error messages), and the types of Django."""
    return str(value) if isinstance(value, str) else _default(value)


_encode = msgspec.json.Encoder(enc_hook=_encode_other).encode


class JSONRenderer(RestFrameworkRenderer):
    """Renders like Django REST framework, but without indentation and without escaping non-ASCII text."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return b"" if data is None else _encode(data)
