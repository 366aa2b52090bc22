"""The user of a call, and what else its metadata says."""

import hashlib
from typing import Any

from costtrack_litellm.settings import Settings

Json = dict[str, Any]

MESSAGES = "anthropic_messages"
# LiteLLM's placeholders for an unknown user, in calls with its master key.
_PLACEHOLDERS = {"default_user_id", "litellm_proxy_master_key"}
_USER_HEADER = "x-costtrack-user"
_MAX_TEXT = 255


def user_id_of(given: Json, *, end_user: Any, settings: Settings, is_messages: bool) -> str | None:
    """Return the user of a call, from its arguments or from LiteLLM's `litellm_params`, by the rules in
    docs/litellm.md, which costtrack also applies to the payloads of LiteLLM's own logger. A caller cannot replace the
    user of its key."""
    metadata = metadata_of(given)
    requester = requester_of(metadata)
    if not requester and not given.get("proxy_server_request"):
        requester = metadata  # a program's own
    route = str(metadata.get("user_api_key_request_route") or "")
    if is_messages or route.endswith("/messages"):
        requester = {}  # Anthropic's `metadata.user_id` is an end user, as OpenAI's `user` is
    caller_metadata = object_of(metadata.get("spend_logs_metadata"))
    known = [key_user(metadata), _identity(caller_metadata.get("user_id")), _identity(requester.get("user_id"))]
    known.append(_identity(object_of(metadata.get("headers")).get(_USER_HEADER)))
    if settings.end_user_as_user:
        named = {**requester_of(metadata), **caller_metadata}.get("end_user")
        known += map(_identity, (metadata.get("user_api_key_end_user_id"), end_user, named))
    return next(filter(None, known), None)


def key_user(metadata: Json) -> str | None:
    """Return the user to whom the key belongs in LiteLLM's database."""
    return _identity(metadata.get("user_api_key_user_id"))


def metadata_of(given: Json) -> Json:
    return {**object_of(given.get("litellm_metadata")), **object_of(given.get("metadata"))}


def requester_of(metadata: Json) -> Json:
    """Return the `metadata` of a request to the proxy. Programs may have one inside their metadata."""
    return object_of(metadata.get("requester_metadata")) or object_of(metadata.get("metadata"))


def object_of(given: Any) -> Json:
    return given if isinstance(given, dict) else {}


def _identity(value: Any) -> str | None:
    text = text_of(value)
    return None if text in _PLACEHOLDERS else text


def text_of(value: Any) -> str | None:
    """Return the text as costtrack stores it: if it is too long, its beginning and a digest of the whole."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).replace("\0", "")
    if len(text) <= _MAX_TEXT:
        return text or None
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{text[: _MAX_TEXT - len(digest) - 1]}~{digest}"
