"""What is sent to costtrack after a call: LiteLLM's payload of the call, without prompts and completions."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]

# The fields of LiteLLM's payload that `POST /integrations/litellm` reads; a test compares both.
PAYLOAD_FIELDS = (
    *("id", "litellm_call_id", "trace_id", "session_id", "call_type", "status", "custom_llm_provider", "model"),
    *("model_group", "model_id", "prompt_tokens", "completion_tokens", "startTime", "endTime", "response_cost"),
    *("response_cost_failure_debug_info", "cache_hit", "request_tags", "end_user", "api_base"),
)
METADATA_FIELDS = (
    *("user_api_key_hash", "user_api_key_alias", "user_api_key_user_id", "user_api_key_end_user_id"),
    *("user_api_key_team_id", "user_api_key_team_alias", "user_api_key_org_id", "user_api_key_project_id"),
    *("user_api_key_request_route", "spend_logs_metadata", "requester_metadata", "requester_custom_headers"),
    *("usage_object", "mcp_tool_call_metadata"),
)
MODEL_PARAMETERS = ("user", "service_tier")
ERROR_FIELDS = ("error_code", "error_class")

_REQUESTER_HEADERS = ("headers",)  # which the proxy copies into the caller's metadata, with credentials
_CUSTOM_HEADERS = ("x-costtrack-user",)


@dataclass(frozen=True)
class Usage:
    """A call that took place."""

    payload: Json

    @classmethod
    def of(cls, payload: Any) -> "Usage":
        read = {name: payload.get(name) for name in PAYLOAD_FIELDS}
        # The rest of the address may have the provider's key.
        read["api_base"] = urlsplit(str(read["api_base"] or "")).hostname
        metadata = _some(payload.get("metadata"), METADATA_FIELDS)
        if isinstance(requester := metadata.get("requester_metadata"), dict):
            others = {name: value for name, value in requester.items() if name not in _REQUESTER_HEADERS}
            metadata["requester_metadata"] = others
        metadata["requester_custom_headers"] = _some(metadata.get("requester_custom_headers"), _CUSTOM_HEADERS)
        read["metadata"] = metadata
        read["model_parameters"] = _some(payload.get("model_parameters"), MODEL_PARAMETERS)
        read["error_information"] = _some(payload.get("error_information"), ERROR_FIELDS)
        return cls(read)

    def to_json(self) -> str:
        return json.dumps(self.payload, default=str)


@dataclass(frozen=True)
class Release:
    """An authorization whose call did not take place."""

    authorization_id: str


def _some(given: Any, names: tuple[str, ...]) -> Json:
    return {name: given[name] for name in names if name in given} if isinstance(given, dict) else {}
