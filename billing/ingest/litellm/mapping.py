"""Conversion of LiteLLM's payloads to usage events: their dimensions, token counts, cost and users.

For users, LiteLLM's database takes precedence over the caller's metadata (docs/litellm.md). The gateway's hook
(examples/litellm_gateway) has the same rule, so that an authorization and its event belong to the same user.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from billing.ingest.json_records import to_record_error
from billing.ingest.litellm.payload import USER_HEADER, Metadata, Payload, caller_metadata, decode, short_text
from billing.ingest.types import ParsedBatch, ParsedEvent, UsageEventInput
from billing.ingest.usage.types import StatedCosts, UnreadableReason, UsageReading
from billing.ingest.usage.usage_reader import read_usage
from billing.ingest.validate import (
    MAX_METADATA_BYTES,
    MAX_METADATA_DEPTH,
    InvalidEventError,
    nests_deeper,
    normalize,
    take_reading,
)
from billing.pricing.canonical import region_of_address
from billing.pricing.normalize import catalog_provider
from costtrack.event_files.litellm_calls import MCP_CALL, PLACEHOLDER_USERS, capability_of

SOURCE = "litellm"

_MAX_TAGS = 50
_MAX_TIER_LENGTH = 64
_MAX_CALL_DURATION = 10**9  # seconds; longer values are ignored
_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?")
_KEY_HASH = re.compile(r"[0-9a-f]{64}")

# Dimensions that a caller may set in the metadata of a call.
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
    """Convert the readable payloads to events and describe the errors of the others. Nulls are skipped."""
    batch = ParsedBatch(events=[], errors=[])
    for index, record in enumerate(map(bytes, records)):
        try:
            payload = decode(record)
        except (ValueError, RecursionError) as error:
            batch.errors.append(to_record_error(index, record, error))
            continue
        if payload is None:
            continue
        try:
            parsed = _parsed_event(index, payload)
            normalize(parsed.event, now, reading=parsed.reading)
        except InvalidEventError as error:
            batch.errors.append(error.at(index, short_text(payload.id), time="startTime"))
        except RecursionError as error:
            batch.errors.append(to_record_error(index, record, error))
        else:
            batch.events.append(parsed)
    return batch


def _parsed_event(index: int, payload: Payload) -> ParsedEvent:
    if not (payload.id or payload.call_type or payload.model):
        raise InvalidEventError(
            "id", "no_payload", "The record is not a LiteLLM call: it has no id, call_type or model."
        )
    metadata = payload.metadata or Metadata()
    caller_fields = caller_metadata(metadata)
    service, model = _service_and_model(payload)
    reading = read_payload(payload, metadata.usage_object)
    cost = reported_cost(payload, has_usage=reading is not None)
    end_user = end_user_of(payload, metadata, caller_fields)
    event = UsageEventInput(
        id=_event_id(payload, is_poll=not (payload.model or reading or cost)),
        source=SOURCE,
        request_id=short_text(payload.id),
        kind="tool_call" if payload.call_type == MCP_CALL else "model_call",
        status="failure" if payload.status == "failure" else "success",
        status_code=_status_code(payload),
        occurred_at=_instant(payload.startTime),
        duration_ms=_milliseconds(payload.startTime, payload.endTime),
        endpoint=short_text(metadata.user_api_key_request_route),
        capability=short_text(capability_of(payload.call_type or "")),
        service=service,
        model=model,
        region=region_of_address(service or "", short_text(payload.api_base) or ""),
        session_id=short_text(payload.session_id),
        tool=short_text(metadata.mcp_tool_call_metadata.name) if metadata.mcp_tool_call_metadata else None,
        end_user=end_user,
        team=short_text(metadata.user_api_key_team_alias) or short_text(metadata.user_api_key_team_id),
        user_id=user_of(payload, metadata, end_user=end_user),
        cost_usd=cost,
        tags=_tags(payload.request_tags),
    )
    if reading is not None:
        take_reading(event, reading)
    if payload.model_parameters is not None and (reading is None or "service_tier" not in reading.attributes):
        event.service_tier = (short_text(payload.model_parameters.service_tier) or "")[:_MAX_TIER_LENGTH] or None
    _take_dimensions(event, caller_fields)
    event.metadata = _metadata(payload, metadata, caller_fields)
    # The cost of an answer from LiteLLM's own cache is known, every other one is an estimate.
    return ParsedEvent(index, event, reading, is_gateway_cost=not payload.cache_hit, call_ids=_call_ids(payload))


def _call_ids(payload: Payload) -> tuple[str, ...]:
    """Return LiteLLM's own id of the call, which its OpenTelemetry spans have too."""
    call_id = short_text(payload.litellm_call_id)
    return (call_id,) if call_id else ()


def _event_id(payload: Payload, *, is_poll: bool) -> str | None:
    """Return the event id: LiteLLM's id of the call, made unique for failed attempts and polls.

    A failed attempt and a poll of a job share the id of the final call. Their start time is appended, as LiteLLM itself
    does for cache hits.
    """
    event_id = short_text(payload.id)
    if event_id is None or payload.startTime is None:
        return event_id
    if payload.status == "failure":
        return short_text(f"{event_id}_failure{payload.startTime}")
    return short_text(f"{event_id}_poll{payload.startTime}") if is_poll else event_id


def _service_and_model(payload: Payload) -> tuple[str | None, str | None]:
    """Return the service and the model without its provider prefix.

    LiteLLM's router puts the provider before the model, direct calls do not. Some calls name their provider only there.
    """
    service, model = short_text(payload.custom_llm_provider), payload.model or ""
    prefix, slash, name = model.partition("/")
    if service is None and slash and name and catalog_provider(prefix) is not None:
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
        raise InvalidEventError("startTime", "invalid", "startTime is not a time in epoch seconds.") from error


def _milliseconds(start: float | None, end: float | None) -> Decimal | None:
    if start is None or end is None or not 0 <= end - start <= _MAX_CALL_DURATION:
        return None
    return round(Decimal(end - start) * 1000, 3)


def _take_dimensions(event: UsageEventInput, caller_fields: dict[str, Any]) -> None:
    """Move dimensions from the caller's metadata to the event. A parent without a run and an invalid authorization id
    are ignored."""
    for name in _DIMENSIONS:
        value = short_text(caller_fields.pop(name, None))
        if value is not None:
            setattr(event, name, value)
    for name in ("user_id", "end_user"):
        # A value that differs from the event's stays in its metadata.
        if short_text(caller_fields.get(name)) in (None, getattr(event, name)):
            caller_fields.pop(name, None)
    event.authorization_id = _uuid(caller_fields.pop("authorization_id", None))
    if not event.run_id:
        event.parent_run_id = None


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None


def _metadata(payload: Payload, metadata: Metadata, caller_fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the event's metadata: further fields of LiteLLM and of the caller, as far as they fit."""
    key_hash = short_text(metadata.user_api_key_hash)
    call_id = short_text(payload.litellm_call_id)
    litellm_fields = {
        "call_type": short_text(payload.call_type),
        "call_id": call_id if call_id != short_text(payload.id) else None,
        "trace_id": short_text(payload.trace_id),
        "cache_hit": payload.cache_hit or None,
        "model_group": short_text(payload.model_group),
        "model_id": short_text(payload.model_id),
        "error_class": short_text(payload.error_information.error_class) if payload.error_information else None,
        # For an unknown key LiteLLM sends the key itself, which may be a secret.
        "api_key_hash": key_hash if key_hash and _KEY_HASH.fullmatch(key_hash) else None,
        "api_key_alias": short_text(metadata.user_api_key_alias),
        "team_id": short_text(metadata.user_api_key_team_id),
        "team_alias": short_text(metadata.user_api_key_team_alias),
        "organization_id": short_text(metadata.user_api_key_org_id),
        "project_id": short_text(metadata.user_api_key_project_id),
    }
    fitting_fields = _fitting(
        ((name, value) for name, value in litellm_fields.items() if value is not None), MAX_METADATA_BYTES - 20
    )
    result = {"litellm": fitting_fields} if fitting_fields else {}
    others = ((name, value) for name, value in caller_fields.items() if name != "litellm")
    return {**result, **_fitting(others, MAX_METADATA_BYTES - len(msgspec.json.encode(result)))} or None


def _fitting(candidates: Iterable[tuple[str, Any]], remaining: int) -> dict[str, Any]:
    """Return the first fields that fit into that many bytes of JSON, without those that are nested too deeply."""
    fitting: dict[str, Any] = {}
    for name, value in candidates:
        size = len(msgspec.json.encode({name: value}))
        if size <= remaining and not nests_deeper(value, MAX_METADATA_DEPTH - 1):
            fitting[name] = value
            remaining -= size
    return fitting


def _tags(candidates: Any) -> list[str] | None:
    tags = dict.fromkeys(map(short_text, candidates)) if isinstance(candidates, list) else {}
    return [tag for tag in tags if tag][:_MAX_TAGS] or None


def reported_cost(payload: Payload, *, has_usage: bool) -> Decimal | None:
    """Return LiteLLM's cost in USD, or None if it is negative, or a 0 for "no price known" or "no usage known".

    A 0 is accepted for a response from LiteLLM's cache, and for calls without usage: failures, and calls without a
    model (lists, files). LiteLLM does not distinguish a free model from one without a price; for a free model the
    organization needs a price of 0.
    """
    cost = payload.response_cost
    if cost is not None and not (cost.is_finite() and cost >= 0):
        cost = None  # a sentinel, such as -1, which is no price either
    nothing_used = not has_usage and (payload.status == "failure" or not payload.model)
    if payload.cache_hit or (cost == 0 and nothing_used):
        return cost
    return None if cost == 0 or payload.response_cost_failure_debug_info else cost


def read_payload(payload: Payload, usage_object: Any) -> UsageReading | None:
    """Read the usage of a call; None if LiteLLM counts nothing, because the usage may be unknown.

    LiteLLM's own totals of tokens come before those of its usage object.
    """
    totals = {
        name: _number(count)
        for name, count in (("prompt_tokens", payload.prompt_tokens), ("completion_tokens", payload.completion_tokens))
        if count is not None
    }
    usage = {**(usage_object if isinstance(usage_object, dict) else {}), **totals}
    service, model = _service_and_model(payload)
    reading = read_usage(usage, service=service or "", model=model or "", source=SOURCE)
    is_contradictory = reading.reason not in (None, UnreadableReason.NO_COUNTS)
    is_known = reading.quantities or reading.flags or reading.costs != StatedCosts() or any(totals.values())
    return reading if is_known or is_contradictory else None


def _number(value: Any) -> Any:
    """Return a number that LiteLLM passes on as text; anything else as it is, for the reader to report."""
    return Decimal(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


# Anthropic's Messages API, under which `metadata.user_id` is the provider's parameter for the end user.
_MESSAGES_CALL = "anthropic_messages"
_MESSAGES_ROUTE = "/messages"


def identity(value: Any) -> str | None:
    """Return a user name as the ledger stores it; None if it is empty or a placeholder of LiteLLM."""
    text = short_text(value)
    return None if text in PLACEHOLDER_USERS else text


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
