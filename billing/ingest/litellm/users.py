"""The user and the end user of a call.

LiteLLM's database takes precedence over the caller's metadata (docs/litellm.md). The gateway's hook
(examples/litellm_gateway) has the same rule, so that an authorization and its event belong to the same user.
"""

from typing import Any

from billing.ingest.litellm.payload import USER_HEADER, Metadata, Payload, short_text

# Placeholders of LiteLLM for calls with its master key: the user (LITELLM_PROXY_ADMIN_NAME), and the end user if it
# overwrites `user` with the key (LITELLM_PROXY_MASTER_KEY_ALIAS).
_PLACEHOLDERS = frozenset({"default_user_id", "litellm_proxy_master_key"})
# Anthropic's Messages API, under which `metadata.user_id` is the provider's parameter for the end user.
_MESSAGES_CALL = "anthropic_messages"
_MESSAGES_ROUTE = "/messages"


def identity(value: Any) -> str | None:
    """Return a user name as the ledger stores it; None if it is empty or a placeholder of LiteLLM."""
    text = short_text(value)
    return None if text in _PLACEHOLDERS else text


def user_of(payload: Payload, metadata: Metadata, *, end_user: str | None) -> str | None:
    """Return the user. In order: the user of the key in LiteLLM's database, `spend_logs_metadata.user_id`,
    `metadata.user_id`, the header, and `end_user` if the payload is marked for it."""
    return (
        identity(metadata.user_api_key_user_id)
        or _user_in(metadata.spend_logs_metadata)
        or (None if _is_messages_call(payload, metadata) else _user_in(metadata.requester_metadata))
        or _user_in(metadata.requester_custom_headers, USER_HEADER)
        or (end_user if payload.end_user_as_user is True else None)
    )


def end_user_of(payload: Payload, metadata: Metadata, caller_fields: dict[str, Any]) -> str | None:
    """Return LiteLLM's end user, OpenAI's parameter `user`, or the `end_user` of the caller's metadata."""
    return (
        identity(payload.end_user)
        or identity(metadata.user_api_key_end_user_id)
        or (identity(payload.model_parameters.user) if payload.model_parameters else None)
        or identity(caller_fields.get("end_user"))
    )


def _user_in(data: Any, name: str = "user_id") -> str | None:
    return identity(data.get(name)) if isinstance(data, dict) else None


def _is_messages_call(payload: Payload, metadata: Metadata) -> bool:
    route = metadata.user_api_key_request_route
    return payload.call_type == _MESSAGES_CALL or (isinstance(route, str) and route.endswith(_MESSAGES_ROUTE))
