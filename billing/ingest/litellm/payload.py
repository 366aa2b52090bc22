"""The fields of LiteLLM's StandardLoggingPayload that are read and stored.

Fields with prompts and responses (`messages`, `response`, error messages, tool arguments and others) are not declared
here, so they are never decoded and never stored. Fields that the cost and time of a call depend on have a type, and a
value of another type makes the record invalid. All others are `Any` and ignored if they are unusable.
"""

import hashlib
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from billing.ingest.json_records import repair_json
from billing.ingest.usage.raw import raw_object


class ErrorInformation(Struct):
    error_code: Any = None
    error_class: Any = None


class ModelParameters(Struct):
    user: Any = None
    service_tier: Any = None


class ToolCall(Struct):
    name: Any = None


class Metadata(Struct):
    """The caller, the caller's metadata, and the usage of a call."""

    user_api_key_hash: Any = None
    user_api_key_alias: Any = None
    user_api_key_user_id: Any = None
    user_api_key_end_user_id: Any = None
    user_api_key_team_id: Any = None
    user_api_key_team_alias: Any = None
    user_api_key_org_id: Any = None
    user_api_key_project_id: Any = None
    user_api_key_request_route: Any = None
    spend_logs_metadata: Any = None
    requester_metadata: Any = None
    requester_custom_headers: Any = None
    usage_object: Any = None
    mcp_tool_call_metadata: ToolCall | None = None


class Payload(Struct):
    id: Any = None
    litellm_call_id: Any = None
    trace_id: Any = None
    session_id: Any = None
    call_type: str | None = None
    status: str | None = None
    custom_llm_provider: str | None = None
    model: str | None = None
    model_group: Any = None
    api_base: Any = None
    model_id: Any = None
    # Numbers that are no counts are usage that cannot be read, and no reason to refuse the call.
    prompt_tokens: Any = None
    completion_tokens: Any = None
    startTime: float | None = None  # noqa: N815 - LiteLLM's spelling
    endTime: float | None = None  # noqa: N815
    response_cost: Decimal | None = None
    response_cost_failure_debug_info: Any = None
    cache_hit: bool | None = None
    request_tags: Any = None
    end_user: Any = None
    metadata: Metadata | None = None
    model_parameters: ModelParameters | None = None
    error_information: ErrorInformation | None = None
    # Not a field of LiteLLM: `mark_end_user_as_user` adds it, so that the quarantine stores it with the record.
    end_user_as_user: Any = None


# Numbers may be strings: LiteLLM passes on the values of providers and callers.
_payload: msgspec.json.Decoder[Payload | None] = msgspec.json.Decoder(Payload | None, strict=False)
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any, float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")

# Keys that LiteLLM's proxy adds to `requester_metadata`: headers, and values that other fields have.
_PROXY_ADDITIONS = ("headers", "tags", "spend_logs_metadata", "trace_id", "used_client_oauth_token")
# Fields with prompts and responses. A caller's metadata may be a copy of an entire payload.
_PROMPT_FIELDS = ("messages", "response", "model_parameters", "error_str", "error_information")

# The header of a request to LiteLLM's proxy that names its user. LiteLLM reports all headers that begin with `x-`; the
# others are neither read nor stored.
USER_HEADER = "x-costtrack-user"

_NESTED: dict[str, type[Struct]] = {
    "metadata": Metadata,
    "model_parameters": ModelParameters,
    "error_information": ErrorInformation,
    "mcp_tool_call_metadata": ToolCall,
}
_DROPPED = "(not kept)"
_MAX_TEXT = 255
_DIGEST_BYTES = 16


def decode(record: bytes) -> Payload | None:
    """Decode a record; None for the nulls that LiteLLM puts into its queue. Raises ValueError (msgspec's
    ValidationError for a wrong type) or RecursionError."""
    try:
        return _payload.decode(record)
    except msgspec.ValidationError:
        raise
    except ValueError:
        payload = _payload.decode(repair_json(record))
        if payload is None:
            raise ValueError("a number that is none") from None  # a lone NaN, which the repair turned into null
        return payload


def mark_end_user_as_user(record: bytes) -> bytes:
    """Add `end_user_as_user` to a record that is an object."""
    body = record.strip()
    if not body.startswith(b"{"):
        return record
    rest = body[1:].lstrip()
    return b'{"end_user_as_user":true' + (b"" if rest.startswith(b"}") else b",") + rest


def caller_metadata(metadata: Metadata) -> dict[str, Any]:
    """Return the caller's own metadata. `spend_logs_metadata` exists in LiteLLM's SDK and proxy and takes precedence;
    `requester_metadata` is the `metadata` of a request to the proxy."""
    return {**_of_requester(metadata.requester_metadata), **_of_caller(metadata.spend_logs_metadata)}


def _of_requester(data: Any) -> dict[str, Any]:
    return {name: value for name, value in _of_caller(data).items() if name not in _PROXY_ADDITIONS}


def _of_caller(data: Any) -> dict[str, Any]:
    caller_fields: dict[str, Any] = _clean(data) if isinstance(data, dict) else {}
    return caller_fields


def _user_header(data: Any) -> dict[str, Any]:
    return {USER_HEADER: data[USER_HEADER]} if isinstance(data, dict) and USER_HEADER in data else {}


def short_text(value: Any) -> str | None:
    """Return a value as text that fits the ledger's columns, None if it is empty.

    A text that is too long (the proxy encrypts response ids into some 350 characters) is cut, and a digest is appended
    that keeps it unique.
    """
    if type(value) is str and len(value) <= _MAX_TEXT and "\0" not in value:
        return value or None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).replace("\0", "")
    if len(text) <= _MAX_TEXT:
        return text or None
    digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{text[: _MAX_TEXT - len(digest) - 1]}~{digest}"


def without_prompts(record: bytes) -> bytes:
    """Return the record with the fields that are read and no others; empty if it is not a readable object."""
    try:
        value = _decode_anything(record)
        return _encoder.encode(_allowed(value, Payload)) if isinstance(value, dict) else b""
    except (ValueError, RecursionError):
        return b""


def _decode_anything(record: bytes) -> Any:
    try:
        return _anything.decode(record)
    except ValueError:
        return _anything.decode(repair_json(record))


def _allowed(value: Any, shape: type[Struct]) -> Any:
    if not isinstance(value, dict):
        return value if value is None else _DROPPED
    return {name: _allowed_field(name, value[name]) for name in shape.__struct_fields__ if name in value}


def _allowed_field(name: str, value: Any) -> Any:
    if name in _FILTERS:
        return _FILTERS[name](value)
    if name in _NESTED:
        return _allowed(value, _NESTED[name])
    return _DROPPED if isinstance(value, list | dict) else value


def _numbers(value: Any) -> Any:
    """Return the numbers and names in a usage object and its details."""
    return raw_object(value)[0] if isinstance(value, dict) else None


def _scalars(value: Any) -> list[Any] | None:
    return [item for item in value if not isinstance(item, list | dict)] if isinstance(value, list) else None


def _clean(value: Any) -> Any:
    """Remove NUL, which PostgreSQL's text cannot hold, and fields with prompts."""
    match value:
        case str():
            return value.replace("\0", "")
        case list():
            return [_clean(item) for item in value]
        case dict():
            return {name.replace("\0", ""): _clean(item) for name, item in value.items() if name not in _PROMPT_FIELDS}
        case _:
            return value


def _host(value: Any) -> str | None:
    """Return the host of an address: its query can have the key of the provider, as Gemini's has."""
    match = _HOST.match(value) if isinstance(value, str) else None
    return match["host"] if match is not None else None


_HOST = re.compile(r"(?:[a-z]+://)?(?:[^/?#@]*@)?(?P<host>[^/?#:@]+)", re.IGNORECASE)
_FILTERS: dict[str, Callable[[Any], Any]] = {
    "api_base": _host,
    "spend_logs_metadata": _of_caller,
    "requester_metadata": _of_requester,
    "requester_custom_headers": _user_header,
    "usage_object": _numbers,
    "response_cost_failure_debug_info": bool,
    "request_tags": _scalars,
}
