"""LiteLLM's payloads as usage events."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from billing.ingest.json_records import named_fault
from billing.ingest.litellm.payload import Metadata, Payload, caller_metadata, decode, short_text
from billing.ingest.litellm.usage import reported_cost, token_counts
from billing.ingest.litellm.users import end_user_of, user_of
from billing.ingest.types import ParsedBatch, ParsedEvent, UsageEventInput
from billing.ingest.validate import (
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    InvalidEventError,
    nests_deeper,
    normalize,
)
from billing.pricing.normalize import catalogue_provider

SOURCE = "litellm"

_MAX_TAGS = 50
_MAX_CALL_DURATION = 10**9  # seconds; what is longer is not a duration
_KEY_HASH = re.compile(r"[0-9a-f]{64}")

# What LiteLLM calls an operation (an "a" before it only means asynchronous), as the product area it belongs to.
_CAPABILITIES = {
    "completion": "chat",
    "anthropic_messages": "chat",
    "generate_content": "chat",
    "generate_content_stream": "chat",
    "text_completion": "completions",
    "responses": "responses",
    "realtime": "realtime",
    "embedding": "embeddings",
    "image_generation": "images",
    "image_edit": "images",
    "video_generation": "video",
    "transcription": "audio",
    "speech": "audio",
    "rerank": "rerank",
    "moderation": "moderation",
    "search": "search",
    "ocr": "ocr",
    "call_mcp_tool": "tools",
}

# Dimensions that a caller may put into the metadata of a call.
_DIMENSIONS = (
    "run_id",
    "parent_run_id",
    "workflow_id",
    "execution_id",
    "phase_id",
    "workspace_id",
    "session_id",
    "group_id",
    "group_name",
    "agent_id",
    "agent_name",
    "capability",
    "cost_group",
    "tool",
)


def parse(records: Sequence[msgspec.Raw | bytes], *, now: datetime) -> ParsedBatch:
    """The readable payloads as events, and what is wrong with the others. Nulls are neither."""
    batch = ParsedBatch(events=[], errors=[])
    for index, record in enumerate(map(bytes, records)):
        try:
            payload = decode(record)
        except (ValueError, RecursionError) as error:
            batch.errors.append(named_fault(index, record, error))
            continue
        if payload is None:
            continue
        try:
            event = _to_event(payload)
            normalize(event, now)
        except InvalidEventError as error:
            batch.errors.append(error.at(index, short_text(payload.id)))
        except RecursionError as error:
            batch.errors.append(named_fault(index, record, error))
        else:
            batch.events.append(ParsedEvent(index, event))
    return batch


def _to_event(payload: Payload) -> UsageEventInput:
    if not (payload.id or payload.call_type or payload.model):
        raise InvalidEventError("id", "no_payload", "No call of LiteLLM: it has neither id, call_type nor model.")
    metadata = payload.metadata or Metadata()
    said = caller_metadata(metadata)
    counts = token_counts(payload, metadata.usage_object)
    cost = reported_cost(payload, counts)
    service, model = _service_and_model(payload)
    end_user = end_user_of(payload, metadata, said)
    event = UsageEventInput(
        id=_event_id(payload, is_poll=not (payload.model or counts or cost)),
        source=SOURCE,
        request_id=short_text(payload.id),
        kind="tool_call" if payload.call_type == "call_mcp_tool" else "model_call",
        status="failure" if payload.status == "failure" else "success",
        status_code=_status_code(payload),
        occurred_at=_instant(payload.startTime),
        duration_ms=_milliseconds(payload.startTime, payload.endTime),
        endpoint=short_text(metadata.user_api_key_request_route),
        capability=_capability(payload.call_type),
        service=service,
        model=model,
        session_id=short_text(payload.session_id),
        tool=short_text(metadata.mcp_tool_call_metadata.name) if metadata.mcp_tool_call_metadata else None,
        end_user=end_user,
        user_id=user_of(payload, metadata, end_user=end_user),
        cost_usd=cost,
        tags=_tags(payload.request_tags),
    )
    for field, count in counts.items():
        setattr(event, field, count)
    _take_dimensions(event, said)
    event.metadata = _metadata(payload, metadata, said)
    return event


def _event_id(payload: Payload, *, is_poll: bool) -> str | None:
    """LiteLLM's id of the call. Attempts that failed, and polls of a job, share the id of what comes of them in the
    end; they are told apart by when they began, in the way LiteLLM itself marks cache hits."""
    event_id = short_text(payload.id)
    if event_id is None or payload.startTime is None:
        return event_id
    if payload.status == "failure":
        return short_text(f"{event_id}_failure{payload.startTime}")
    return short_text(f"{event_id}_poll{payload.startTime}") if is_poll else event_id


def _service_and_model(payload: Payload) -> tuple[str | None, str | None]:
    """LiteLLM's router names a model with its provider before it, direct calls name it without; some calls name their
    provider nowhere else."""
    service, model = short_text(payload.custom_llm_provider), payload.model or ""
    prefix, slash, name = model.partition("/")
    if service is None and slash and name and catalogue_provider(prefix) is not None:
        service = prefix
    return service, short_text(model.removeprefix(f"{service}/") if service else model)


def _status_code(payload: Payload) -> int | None:
    code = short_text(payload.error_information.error_code) if payload.error_information else None
    return int(code) if code and re.fullmatch(r"[1-5][0-9]{2}", code) else None


def _instant(epoch_seconds: float | None) -> datetime | None:
    if epoch_seconds is None:
        return None
    try:
        return datetime.fromtimestamp(epoch_seconds, tz=UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise InvalidEventError("startTime", "invalid", "startTime is not an instant in epoch seconds.") from error


def _milliseconds(start: float | None, end: float | None) -> Decimal | None:
    if start is None or end is None or not 0 <= end - start <= _MAX_CALL_DURATION:
        return None
    return round(Decimal(end - start) * 1000, 3)


def _capability(call_type: str | None) -> str | None:
    """LiteLLM's word for what it has no product area for."""
    name = (call_type or "").removeprefix("_")
    return _CAPABILITIES.get(name) or _CAPABILITIES.get(name.removeprefix("a")) or short_text(name)


def _take_dimensions(event: UsageEventInput, said: dict[str, Any]) -> None:
    """Move run, session and the like out of what the caller said. A parent without a run says nothing, and neither does
    an authorization id that is none."""
    for name in _DIMENSIONS:
        value = short_text(said.pop(name, None))
        if value is not None:
            setattr(event, name, value)
    for name in ("user_id", "end_user"):
        # Another name than the event's stays in its metadata as what the caller said.
        if short_text(said.get(name)) in (None, getattr(event, name)):
            said.pop(name, None)
    event.authorization_id = _uuid(said.pop("authorization_id", None))
    if not event.run_id:
        event.parent_run_id = None


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None


def _metadata(payload: Payload, metadata: Metadata, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """What LiteLLM knows of the call beyond the event's own fields, and what else the caller said, as far as there is
    room."""
    key_hash = short_text(metadata.user_api_key_hash)
    call_id = short_text(payload.litellm_call_id)
    facts = {
        "call_type": short_text(payload.call_type),
        "call_id": call_id if call_id != short_text(payload.id) else None,
        "trace_id": short_text(payload.trace_id),
        "cache_hit": payload.cache_hit or None,
        "model_group": short_text(payload.model_group),
        "model_id": short_text(payload.model_id),
        "error_class": short_text(payload.error_information.error_class) if payload.error_information else None,
        # For a key that nobody knows LiteLLM gives the key itself, which is a secret of somebody's.
        "api_key_hash": key_hash if key_hash and _KEY_HASH.fullmatch(key_hash) else None,
        "api_key_alias": short_text(metadata.user_api_key_alias),
        "team_id": short_text(metadata.user_api_key_team_id),
        "team_alias": short_text(metadata.user_api_key_team_alias),
        "organization_id": short_text(metadata.user_api_key_org_id),
        "project_id": short_text(metadata.user_api_key_project_id),
    }
    known = _fitting(((name, value) for name, value in facts.items() if value is not None), MAX_METADATA_BYTES - 20)
    kept = {"litellm": known} if known else {}
    others = ((name, value) for name, value in said.items() if name != "litellm")
    return {**kept, **_fitting(others, MAX_METADATA_BYTES - len(msgspec.json.encode(kept)))} or None


def _fitting(given: Iterable[tuple[str, Any]], room: int) -> dict[str, Any]:
    """The first ones that fit into that many bytes of JSON, without those that are nested too deeply."""
    fitting: dict[str, Any] = {}
    for name, value in given:
        size = len(msgspec.json.encode({name: value}))
        if size <= room and not nests_deeper(value, MAX_METADATA_DEPTH - 1):
            fitting[name] = value
            room -= size
    return fitting


def _tags(given: Any) -> list[str] | None:
    tags = dict.fromkeys(map(short_text, given)) if isinstance(given, list) else {}
    return [tag for tag in tags if tag][:_MAX_TAGS] or None
