"""The spend log object of document 004, in the format of LiteLLM."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from rest_framework import serializers

from billing.reports.spend.keys import credentials_by_id, key_hash
from billing.reports.spend.logs import LogRow
from billing.reports.spend.totals import TEAM_TAG_PREFIX
from billing.types import EventKind, Status
from costtrack.clock import iso
from costtrack.money import number
from organizations.models import APICredential, Organization

# LiteLLM call types by capability, if the event has no call type.
_CALL_TYPES = {
    "chat": "completion",
    "completions": "text_completion",
    "responses": "responses",
    "embeddings": "embedding",
    "images": "image_generation",
    "video": "video_generation",
    "audio": "transcription",
    "rerank": "rerank",
    "moderation": "moderation",
    "search": "search",
    "ocr": "ocr",
}
_TOOL_CALL = "call_mcp_tool"


class SpendLogSerializer(serializers.Serializer[Any]):
    """One call. Its spend is the net cost, including corrections."""

    request_id = serializers.CharField(
        help_text="Id of the request, or of the event if that is more specific or there is no request id."
    )
    call_type = serializers.CharField(help_text="For example acompletion, or session_summary or compute.")
    api_key = serializers.CharField(
        help_text="SHA-256 of the Client ID, never the key itself. Empty without a credential."
    )
    spend = serializers.FloatField(help_text="In USD. 0 while the cost is unknown; metadata has the reason.")
    total_tokens = serializers.IntegerField()
    prompt_tokens = serializers.IntegerField(help_text="Including cached tokens.")
    completion_tokens = serializers.IntegerField()
    startTime = serializers.DateTimeField()  # noqa: N815 - LiteLLM's spelling
    endTime = serializers.DateTimeField()  # noqa: N815
    request_duration_ms = serializers.IntegerField(allow_null=True)
    completionStartTime = serializers.DateTimeField(  # noqa: N815
        allow_null=True, help_text="Not stored, always null."
    )
    model = serializers.CharField()
    model_id = serializers.CharField(help_text="LiteLLM deployment.")
    model_group = serializers.CharField(help_text="The requested model name.")
    custom_llm_provider = serializers.CharField()
    api_base = serializers.CharField(help_text="Not stored, always empty.")
    user = serializers.CharField()
    metadata = serializers.DictField(help_text="LiteLLM keys, plus the event id in `costtrack`.")
    cache_hit = serializers.ChoiceField(choices=["True", "False"])
    cache_key = serializers.CharField(help_text="Not stored, always empty.")
    request_tags = serializers.ListField(child=serializers.CharField())
    team_id = serializers.CharField(
        allow_null=True, help_text="LiteLLM team, else the first tag that begins with team:."
    )
    organization_id = serializers.CharField(help_text="LiteLLM organization, else the slug of the organization.")
    end_user = serializers.CharField(allow_null=True)
    requester_ip_address = serializers.CharField(allow_null=True, help_text="Not stored, always null.")
    messages = serializers.DictField(help_text="Not stored, always empty.")
    response = serializers.DictField(help_text="Not stored, always empty.")
    session_id = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=Status.choices)
    mcp_namespaced_tool_name = serializers.CharField(allow_null=True)
    agent_id = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField(help_text="When it was received.")
    updated_at = serializers.DateTimeField()


def log_objects(organization: Organization, rows: Sequence[LogRow]) -> list[dict[str, Any]]:
    credentials = credentials_by_id(organization=organization, ids=(row.credential_id for row in rows))
    hashes = {pk: key_hash(credential.client_id) for pk, credential in credentials.items()}
    return [
        _object(row, organization, hashes.get(row.credential_id or 0, ""), credentials.get(row.credential_id or 0))
        for row in rows
    ]


def _object(row: LogRow, organization: Organization, api_key: str, credential: APICredential | None) -> dict[str, Any]:
    gateway = row.gateway
    duration = row.duration_ms if row.duration_ms is not None and row.kind != EventKind.SESSION_SUMMARY.value else None
    started, received = iso(row.occurred_at), iso(row.received_at)
    ended = iso(row.occurred_at + timedelta(milliseconds=float(duration))) if duration else started
    team = gateway.get("team_id") or _team(row.tags)
    return {
        "request_id": _request_id(row),
        "call_type": gateway.get("call_type") or _call_type(row),
        "api_key": api_key,
        "spend": number(row.cost_usd),
        "total_tokens": row.total_tokens,
        "prompt_tokens": row.net_prompt_tokens,
        "completion_tokens": row.net_output_tokens,
        "startTime": started,
        "endTime": ended,
        "request_duration_ms": round(duration) if duration is not None else None,
        "completionStartTime": None,
        "model": row.model,
        "model_id": gateway.get("model_id") or "",
        "model_group": gateway.get("model_group") or row.model,
        "custom_llm_provider": row.service,
        "api_base": "",
        "user": row.user_ref,
        "metadata": _metadata(row, gateway, api_key, credential, team),
        "cache_hit": "True" if row.was_cached else "False",
        "cache_key": "",
        "request_tags": row.tags,
        "team_id": team,
        "organization_id": gateway.get("organization_id") or organization.slug,
        "end_user": row.end_user or None,
        "requester_ip_address": None,
        "messages": {},
        "response": {},
        "session_id": row.session_id or gateway.get("trace_id"),
        "status": row.status,
        "mcp_namespaced_tool_name": row.tool or None,
        "agent_id": row.agent_id or None,
        "created_at": received,
        "updated_at": received,
    }


def _metadata(
    row: LogRow, gateway: Mapping[str, str], api_key: str, credential: APICredential | None, team: str | None
) -> dict[str, Any]:
    """Build the metadata with the keys of LiteLLM: what its proxy reported about the key of the caller, else what is
    known about the credential."""
    caller_metadata = {name: value for name, value in row.metadata.items() if name != "litellm"}
    own_metadata: dict[str, Any] = {"id": str(row.id), "kind": row.kind}
    if not row.is_priced:
        own_metadata["unpriced_reason"] = row.unpriced_reason
    error = {"error_code": str(row.status_code or ""), "error_class": gateway.get("error_class") or ""}
    return {
        "user_api_key": gateway.get("api_key_hash") or api_key or None,
        "user_api_key_alias": gateway.get("api_key_alias") or (credential.name if credential is not None else None),
        "user_api_key_team_id": team,
        "user_api_key_team_alias": gateway.get("team_alias"),
        "user_api_key_org_id": gateway.get("organization_id"),
        "user_api_key_user_id": row.user_ref or None,
        "spend_logs_metadata": caller_metadata or None,
        "additional_usage_values": {
            "cache_read_input_tokens": row.net_cache_read_tokens,
            "cache_creation_input_tokens": row.net_cache_creation_tokens,
        },
        "error_information": error if row.status == Status.FAILURE.value else None,
        "status": row.status,
        "costtrack": own_metadata,
    }


def _request_id(row: LogRow) -> str:
    """Return a unique id, as in LiteLLM: several attempts at one request share its id, and the ids of their events
    begin with it."""
    if row.request_id and not row.event_id.startswith(row.request_id):
        return row.request_id
    return row.event_id or str(row.id)


def _call_type(row: LogRow) -> str:
    if row.kind == EventKind.TOOL_CALL.value:
        return _TOOL_CALL
    if row.kind != EventKind.MODEL_CALL.value:
        return row.kind
    return _CALL_TYPES.get(row.capability, row.capability or "completion")


def _team(tags: Sequence[str]) -> str | None:
    return next((tag.removeprefix(TEAM_TAG_PREFIX) for tag in tags if tag.startswith(TEAM_TAG_PREFIX)), None)
