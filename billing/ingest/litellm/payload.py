"""LiteLLM's StandardLoggingPayload, as far as it is read.

Prompts and answers (`messages`, `response`, error messages, tool arguments and many more places) are not named here,
so they are never decoded, and never kept. A value of the wrong type makes a bad record where a type stands here (what
the cost, the time and the shape of a call hang on); everything else is `Any` and read as far as it makes sense.
"""

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from billing.ingest.tolerant import repaired
from billing.ingest.types import Count


class ErrorInformation(Struct):
    error_code: Any = None
    error_class: Any = None


class ModelParameters(Struct):
    user: Any = None


class ToolCall(Struct):
    name: Any = None


class Metadata(Struct):
    """Who called, what the caller said about the call, and the tokens it used."""

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
    model_id: Any = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
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
    # Not LiteLLM's: `mark_end_user_as_user` puts it there, so that the quarantine keeps it with the record.
    end_user_as_user: Any = None


# Numbers are taken from strings too: LiteLLM passes on what providers and callers gave it.
_payload: msgspec.json.Decoder[Payload | None] = msgspec.json.Decoder(Payload | None, strict=False)
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any, float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")

# What LiteLLM's proxy itself puts into `requester_metadata`, beside what the requester said: headers with who knows
# what in them, and things that stand elsewhere.
_PROXY_ADDITIONS = ("headers", "tags", "spend_logs_metadata", "trace_id", "used_client_oauth_token")
# Fields of LiteLLM's that hold prompts and answers; a caller's own metadata may be a copy of a whole payload.
_PROMPT_FIELDS = ("messages", "response", "model_parameters", "error_str", "error_information")

# The header of a request to LiteLLM's proxy that names its user. LiteLLM reports all that begin with `x-`; no other is
# read or kept.
USER_HEADER = "x-costtrack-user"

_PARTS: dict[str, type[Struct]] = {
    "metadata": Metadata,
    "model_parameters": ModelParameters,
    "error_information": ErrorInformation,
    "mcp_tool_call_metadata": ToolCall,
}
_DROPPED = "(not kept)"
_MAX_TEXT = 255
_DIGEST_BYTES = 16


def decode(record: bytes) -> Payload | None:
    """One record; None for the nulls that LiteLLM puts into its queue. Raises ValueError (msgspec's ValidationError
    where a type is wrong) or RecursionError."""
    try:
        return _payload.decode(record)
    except msgspec.ValidationError:
        raise
    except ValueError:
        payload = _payload.decode(repaired(record))
        if payload is None:
            raise ValueError("a number that is none") from None  # a lone NaN, which repairing made a null
        return payload


def mark_end_user_as_user(record: bytes) -> bytes:
    """The record with `end_user_as_user`; what is not an object stays as it is."""
    body = record.strip()
    if not body.startswith(b"{"):
        return record
    rest = body[1:].lstrip()
    return b'{"end_user_as_user":true' + (b"" if rest.startswith(b"}") else b",") + rest


def caller_metadata(metadata: Metadata) -> dict[str, Any]:
    """What the caller said about a call in words of their own. `spend_logs_metadata` passes through LiteLLM's SDK and
    proxy alike and wins; `requester_metadata` is what came to the proxy as `metadata`."""
    return {**_of_requester(metadata.requester_metadata), **_of_caller(metadata.spend_logs_metadata)}


def _of_requester(given: Any) -> dict[str, Any]:
    return {name: value for name, value in _of_caller(given).items() if name not in _PROXY_ADDITIONS}


def _of_caller(given: Any) -> dict[str, Any]:
    said: dict[str, Any] = _clean(given) if isinstance(given, dict) else {}
    return said


def _user_header(given: Any) -> dict[str, Any]:
    return {USER_HEADER: given[USER_HEADER]} if isinstance(given, dict) and USER_HEADER in given else {}


def short_text(value: Any) -> str | None:
    """A text as the ledger holds it, None for an empty one. Of one that is too long (the proxy encrypts the ids of
    responses into some 350 characters) the beginning stays, and a digest that keeps it different from all others."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).replace("\0", "")
    if len(text) <= _MAX_TEXT:
        return text or None
    digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{text[: _MAX_TEXT - len(digest) - 1]}~{digest}"


def without_prompts(record: bytes) -> bytes:
    """The record as it may be kept: the fields that are read, and nothing else of it. What is not a readable object
    is kept empty, because nothing in it can be told apart."""
    try:
        value = _decode_anything(record)
        return _encoder.encode(_kept(value, Payload)) if isinstance(value, dict) else b""
    except (ValueError, RecursionError):
        return b""


def _decode_anything(record: bytes) -> Any:
    try:
        return _anything.decode(record)
    except ValueError:
        return _anything.decode(repaired(record))


def _kept(value: Any, shape: type[Struct]) -> Any:
    if not isinstance(value, dict):
        return value if value is None else _DROPPED
    return {name: _kept_field(name, value[name]) for name in shape.__struct_fields__ if name in value}


def _kept_field(name: str, value: Any) -> Any:
    if name in _KEEPERS:
        return _KEEPERS[name](value)
    if name in _PARTS:
        return _kept(value, _PARTS[name])
    return _DROPPED if isinstance(value, list | dict) else value


def _numbers(value: Any) -> Any:
    """Usage objects are all numbers; anything else in one is not usage."""
    if isinstance(value, dict):
        return {name: _numbers(part) for name, part in value.items()}
    return value if isinstance(value, int | Decimal) else None


def _scalars(value: Any) -> list[Any] | None:
    return [item for item in value if not isinstance(item, list | dict)] if isinstance(value, list) else None


def _clean(value: Any) -> Any:
    """JSON that PostgreSQL can hold: its text has no NUL."""
    match value:
        case str():
            return value.replace("\0", "")
        case list():
            return [_clean(item) for item in value]
        case dict():
            return {name.replace("\0", ""): _clean(item) for name, item in value.items() if name not in _PROMPT_FIELDS}
        case _:
            return value


_KEEPERS: dict[str, Callable[[Any], Any]] = {
    "spend_logs_metadata": _of_caller,
    "requester_metadata": _of_requester,
    "requester_custom_headers": _user_header,
    "usage_object": _numbers,
    "response_cost_failure_debug_info": bool,
    "request_tags": _scalars,
}
