"""Conversion of OpenTelemetry spans and log records to usage events (docs/otlp.md).

Only leaves are events: the calls of models themselves. Agents, workflows, chains and tools repeat the usage of their
calls, so they only say whose calls those are.
"""

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from billing.ingest.json_records import to_record_error
from billing.ingest.litellm.payload import short_text
from billing.ingest.otlp.attributes import (
    CACHE_COSTS,
    CALL_IDS,
    COST_DETAILS,
    COSTS,
    PROVIDER_METADATA,
    USAGE_DETAILS,
    is_usage,
)
from billing.ingest.otlp.metrics import LOGS, TRACES
from billing.ingest.otlp.outer_calls import outer_calls
from billing.ingest.otlp.records import Attributes, Record, json_object
from billing.ingest.otlp.similar_spans import Features, SpanPattern, duration, instant, span_event_id
from billing.ingest.otlp.traces import KnownSpans, link_calls, surroundings, take
from billing.ingest.types import ParsedBatch, ParsedEvent, RecordError, UsageEventInput
from billing.ingest.usage.raw import raw_object
from billing.ingest.usage.types import UsageReading
from billing.ingest.usage.usage_reader import read_usage, without_known_caches
from billing.ingest.validate import InvalidEventError, normalize, payload_hash, take_reading
from billing.pricing.canonical import region_of_address
from billing.pricing.kinds import CACHE_KINDS
from costtrack.money import MAX_AMOUNT_USD

SOURCE = "otlp"

_SERVER, _CLIENT = 2, 3
_TRACE_DIGITS, _SPAN_DIGITS = 32, 16

# The operations of the GenAI conventions that are calls of models. All others repeat or surround them.
_CALLS = {
    "chat": "chat",
    "chat_completion": "chat",
    "generate_content": "chat",
    "message": "chat",
    "messages": "chat",
    "responses": "responses",
    "text_completion": "completions",
    "completion": "completions",
    "embeddings": "embeddings",
    "embedding": "embeddings",
    "image_generation": "images",
    "generate_image": "images",
    "speech": "audio",
    "text_to_speech": "audio",
    "transcription": "audio",
    "speech_to_text": "audio",
    "rerank": "rerank",
    # LiteLLM's asynchronous calls.
    "acompletion": "chat",
    "anthropic_messages": "chat",
    "agenerate_content": "chat",
    "agenerate_content_stream": "chat",
    "generate_content_stream": "chat",
    "aresponses": "responses",
    "atext_completion": "completions",
    "aembedding": "embeddings",
    "aimage_generation": "images",
    "aspeech": "audio",
    "atranscription": "audio",
    "arerank": "rerank",
}
# The kinds of spans by which frameworks name calls of models, before the operation.
_KINDS: Mapping[str, Mapping[str, str]] = {
    "langfuse_type": {"generation": "chat", "embedding": "embeddings"},
    "openinference_kind": {"llm": "chat", "embedding": "embeddings"},
    "langsmith_kind": {"llm": "chat", "embedding": "embeddings"},
}
# What the operation of a span is named by. Workflows, tasks and tools of Traceloop are no calls.
_OPERATIONS: Mapping[str, Mapping[str, str]] = {
    "traceloop_kind": {},
    "operation": _CALLS,
    "request_type": {"chat": "chat", "completion": "completions", "embedding": "embeddings", "rerank": "rerank"},
}
_VERCEL_CALLS = {"doGenerate": "chat", "doStream": "chat", "doEmbed": "embeddings"}
_CLAUDE_CODE_CALL = "claude_code.llm_request"
# Senders that bill the call themselves.
_PROVIDERS = {"claude-platform": "anthropic", "openrouter": "openrouter"}
# Agents that report each call as a log record; their spans are the same calls again, without ids.
_LOGGED_BY = frozenset({"gemini-cli", "codex_cli_rs", "codex_exec", "codex-cli", "codex"})

_DIMENSIONS = (
    *("session_id", "user_id", "agent_id", "agent_name", "workflow_id", "run_id", "execution_id", "phase_id"),
    *("workspace_id", "group_id", "group_name", "end_user", "cost_group"),
)


def without_ids(records: Iterable[Record]) -> bool:
    """Whether no span has valid ids, as in a body of another signal: the numbers of the fields coincide."""
    return not any(map(_has_ids, records))


def _has_ids(record: Record) -> bool:
    return len(record.trace_id) == _TRACE_DIGITS and len(record.span_id) == _SPAN_DIGITS


def to_events(records: Sequence[Record], *, now: datetime, known: KnownSpans | None = None) -> ParsedBatch:
    """Convert the calls among the records to events. All others are left out. `known` are spans of the same traces that
    other requests had.

    Each step is done for all calls before the next one, which takes a third less time than all steps for each call. Of
    spans that differ only in their ids, times and counts, the first one is converted, and the others are like it.
    """
    errors: list[RecordError] = []
    groups = _groups(records, errors)
    calls = _valid_calls([first for first, *_ in groups], records, now, errors)
    calls += _similar_calls(groups, calls, records, now, errors)
    calls.sort(key=attrgetter("index"))
    by_id = {} if known is None else dict(known.records)
    by_id |= {(record.trace_id, record.span_id): record for record in records if not record.is_log}
    events = [_parsed_event(call, by_id) for call in calls]
    outer = outer_calls(events, records, by_id)
    if outer:
        events = [outer.get(parsed.index, parsed) for parsed in events]
    if known is not None:
        events = link_calls(events, records, by_id, known)
    # The report that is nearest to the provider comes first, because later ones only complete it.
    events.sort(key=lambda parsed: (not parsed.is_from_provider, parsed.index in outer))
    return ParsedBatch(events, sorted(errors, key=attrgetter("index")))


def _groups(records: Sequence[Record], errors: list[RecordError]) -> list[list[int]]:
    """Return the indexes of records, similar spans together, and append the errors of spans without ids."""
    groups: list[list[int]] = []
    by_features: dict[Hashable, list[int]] = {}
    features = Features()
    for index, record in enumerate(records):
        if record.is_log:
            groups.append([index])
        elif not _has_ids(record):
            message = "A span needs a trace id of 16 bytes and a span id of 8 bytes."
            errors.append(RecordError(index=index, code="invalid", field="traceId", message=message))
        else:
            by_features.setdefault(features.of(record), []).append(index)
    return [*groups, *by_features.values()]


def _valid_calls(
    indexes: Iterable[int], records: Sequence[Record], now: datetime, errors: list[RecordError]
) -> list["_Call"]:
    """Return the calls among these records, and append the errors of those that are invalid."""
    calls = list(_calls(indexes, records, errors))
    for call in calls:
        _read_usage(call)
    return [call for call in calls if _is_valid(call, now, errors)]


def _calls(indexes: Iterable[int], records: Sequence[Record], errors: list[RecordError]) -> Iterator["_Call"]:
    """Yield the calls among these records, and append the errors of those that cannot be read."""
    for index in indexes:
        record = records[index]
        try:
            call = _call_in_log(record) if record.is_log else _call_in_span(record)
        except InvalidEventError as error:
            errors.append(_error(error, index, record))
            continue
        if call is not None:
            call.index = index
            yield call


def _similar_calls(
    groups: Iterable[Sequence[int]],
    firsts: Iterable["_Call"],
    records: Sequence[Record],
    now: datetime,
    errors: list[RecordError],
) -> list["_Call"]:
    """Return the calls of all spans but the first of each group. If that is no call, they are none either; if it is
    invalid, or has more than ids and sums of tokens, each of them is converted separately."""
    first_calls = {call.index: call for call in firsts}
    unreadable = {error.index for error in errors}
    calls: list[_Call] = []
    others: list[int] = []
    for first, *rest in groups:
        if not rest or (first not in first_calls and first not in unreadable):
            continue
        call = first_calls.get(first)
        pattern = SpanPattern.of(call.record, call.event, call.usage) if call is not None else None
        if call is None or pattern is None:
            others += rest
            continue
        for index in rest:
            record = records[index]
            ids = pattern.ids_of(record)
            try:
                found = pattern.event_of(record, ids, now)
            except InvalidEventError as error:
                errors.append(_error(error, index, record))
                continue
            if found is None:
                others.append(index)
                continue
            event, reading = found
            digest = payload_hash(event)
            calls.append(_Call(record, event, {}, call.is_from_provider, call.is_own_bill, index, ids, reading, digest))
    return calls + _valid_calls(others, records, now, errors)


def _is_valid(call: "_Call", now: datetime, errors: list[RecordError]) -> bool:
    """Normalize the event, and append its error if it is invalid."""
    try:
        normalize(call.event, now, reading=call.reading)
    except InvalidEventError as error:
        errors.append(_error(error, call.index, call.record))
        return False
    call.payload_hash = payload_hash(call.event)
    return True


def _error(error: InvalidEventError, index: int, record: Record) -> RecordError:
    """Return the error of a record, with the name that its time has in OTLP."""
    time = "timeUnixNano" if record.is_log else "endTimeUnixNano" if record.end else "startTimeUnixNano"
    return error.at(index, _record_id(record), time=time)


def _record_id(record: Record) -> str | None:
    return f"{record.trace_id}:{record.span_id}".strip(":") or None


def parse(records: Sequence[msgspec.Raw | bytes], *, now: datetime) -> ParsedBatch:
    """Convert stored records (`encode`) to events."""
    decoded: list[Record] = []
    errors: list[RecordError] = []
    for index, encoded in enumerate(records):
        try:
            decoded.append(_record.decode(encoded))
        except msgspec.DecodeError as error:
            errors.append(to_record_error(index, bytes(encoded), error))
    batch = to_events(decoded, now=now)
    return ParsedBatch(batch.events, [*errors, *batch.errors])


def encode(record: Record) -> bytes:
    return msgspec.json.encode(record)


def without_prompts(record: bytes) -> bytes:
    """Return a stored record, which has no content."""
    return record


_record = msgspec.json.Decoder(Record)


class _Call(Struct, gc=False):
    """A call of a model: its record, the event without usage, and the usage object. `is_own_bill`: the sender bills it,
    so its cost is no estimate."""

    record: Record
    event: UsageEventInput
    usage: dict[str, Any]
    is_from_provider: bool = False
    is_own_bill: bool = False
    index: int = 0
    ids: list[str] = []
    reading: UsageReading | None = None
    payload_hash: int = 0


def _capability(record: Record) -> str | None:
    """Return what a span calls if it is a call of a model; None for all others. The first kind that it names counts."""
    texts = record.attributes.texts
    for field, calls in _KINDS.items():
        if field in texts:
            return calls.get(texts[field].lower())
    vercel = texts.get("vercel_operation") or (record.name if record.name.startswith("ai.") else None)
    if vercel is not None:
        return _VERCEL_CALLS.get(vercel.rpartition(".")[2])
    if record.name.startswith("claude_code."):
        return "chat" if record.name == _CLAUDE_CODE_CALL else None
    for field, calls in _OPERATIONS.items():
        if field in texts:
            return calls.get(texts[field])
    is_client = record.kind == _CLIENT or bool(_ids(record))
    return "chat" if is_client and _has_usage(record) and _model(texts) else None


def _has_usage(record: Record) -> bool:
    return any(map(is_usage, record.attributes.values))


def _call_in_span(record: Record) -> _Call | None:
    sender = record.sender
    capability = _capability(record)
    is_pending = record.text("logfire_type") == "pending_span"
    if capability is None or is_pending or (sender in _LOGGED_BY and not _ids(record)):
        return None
    service = record.text("provider") or _PROVIDERS.get(sender)
    if record.name == _CLAUDE_CODE_CALL:
        usage = _claude_code_usage(record)
        service = service or "anthropic"
    else:
        usage = _usage(record)
    event = _event(record, span_event_id(record), service, capability)
    is_own_bill = service is not None and _PROVIDERS.get(sender) == service
    return _Call(record, event, usage, is_from_provider=record.kind == _SERVER, is_own_bill=is_own_bill)


def _event(record: Record, event_id: str, service: str | None, capability: str) -> UsageEventInput:
    """Return the event without its usage."""
    own, resource = record.attributes.texts, record.resource
    texts = {**resource.texts, **own}
    dimensions: dict[str, Any] = {name: texts[name] for name in _DIMENSIONS if name in texts}
    if record.trace_id:
        dimensions.setdefault("run_id", record.trace_id)
    is_failure = record.is_error or ("error" in own and not _has_usage(record))
    return UsageEventInput(
        id=event_id,
        source=SOURCE,
        kind="model_call",
        status="failure" if is_failure else "success",
        status_code=_status_code(record),
        occurred_at=instant(record.end or record.start),
        duration_ms=duration(record),
        capability=own.get("capability") or capability,
        endpoint=own.get("endpoint"),
        service=service,
        model=_model(own),
        service_tier=_tier(own),
        region=_region(own, service),
        tags=_tags(record.attributes) or _tags(resource),
        authorization_id=_uuid(own.get("authorization_id")),
        metadata=_metadata(record, texts),
        **dimensions,
    )


def _read_usage(call: _Call) -> None:
    """Add the usage and the ids to the event of a call."""
    event, usage, values = call.event, call.usage, call.record.attributes.values
    call.ids = _ids(call.record)
    event.request_id = call.ids[0] if call.ids else None
    cost = None if _COSTS.isdisjoint(values) else next(values[name] for name in COSTS if name in values)
    if call.is_own_bill and cost is not None:
        usage["cost"] = cost
    if usage:
        call.reading = read_usage(usage, service=event.service or "", model=event.model or "", source=SOURCE)
        take_reading(event, call.reading)
        if not CACHE_KINDS & call.reading.quantities.keys() and any(map(values.get, CACHE_COSTS)):
            call.reading = without_known_caches(call.reading)
    if cost is not None and not call.is_own_bill:
        event.cost_usd = _amount(cost)


def _parsed_event(call: _Call, by_id: Mapping[tuple[str, str], Record]) -> ParsedEvent:
    record, call_ids = call.record, call.ids[1:]
    if not record.is_log:
        # Which spans are in a request may differ when it is sent again, so this does not belong to the content by which
        # events are compared.
        take(call.event, surroundings(record, by_id))
    if not call.ids and _has_ids(record):
        call_ids = [span_event_id(record)]
    return ParsedEvent(
        call.index,
        call.event,
        call.reading,
        is_gateway_cost=True,
        call_ids=tuple(call_ids),
        may_repeat_calls=True,
        is_from_provider=call.is_from_provider,
        payload_hash=call.payload_hash,
        signal=(record.sender, LOGS if record.is_log else TRACES) if record.sender else None,
    )


def _ids(record: Record) -> list[str]:
    values = record.attributes.values
    names = _CALL_IDS.intersection(values)
    if len(names) <= 1:
        return [values[name] for name in names]
    return list(dict.fromkeys([values[name] for name in CALL_IDS if name in names]))


_CALL_IDS = frozenset(CALL_IDS)
_COSTS = frozenset(COSTS)


def _model(texts: Mapping[str, str]) -> str | None:
    return texts.get("response_model") or texts.get("model")


def _tier(texts: Mapping[str, str]) -> str | None:
    """Return the tier of the response, else of the request; `auto` says nothing."""
    tier = texts.get("service_tier") or texts.get("requested_tier")
    return tier[:64] if tier and tier != "auto" else None


def _usage(record: Record) -> dict[str, Any]:
    """Return the usage object of a span."""
    values = record.attributes.values
    usage = {name: values[name] for name in filter(is_usage, values)}
    if USAGE_DETAILS in values and (details := json_object(values[USAGE_DETAILS])):
        return raw_object({**details, **_cost_total(values)})[0]
    if PROVIDER_METADATA in values:
        own = json_object(values[PROVIDER_METADATA])
        anthropic, openai = own.get("anthropic"), own.get("openai")
        if isinstance(anthropic, dict) and isinstance(anthropic.get("usage"), dict):
            return raw_object(anthropic["usage"])[0]
        if isinstance(openai, dict):
            usage = _openai_details(openai) | usage
    if any(map(_is_of_compaction, usage)):
        usage = _with_compaction(usage)
    speed = record.text("speed")
    if usage and speed is not None:
        usage["speed"] = speed
    return usage


def _openai_details(openai: Mapping[str, Any]) -> dict[str, Any]:
    names = {"cachedPromptTokens": "ai.usage.cachedInputTokens", "reasoningTokens": "ai.usage.reasoningTokens"}
    return {name: openai[theirs] for theirs, name in names.items() if isinstance(openai.get(theirs), int)}


def _with_compaction(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usage with its compaction as a request of its own, which is billed beside the totals."""
    compaction = {name.removeprefix(_COMPACTION): usage[name] for name in filter(_is_of_compaction, usage)}
    others = {name: value for name, value in usage.items() if not _is_of_compaction(name)}
    return {**others, "iterations": [{"type": "compaction", **compaction}]} if any(compaction.values()) else others


_COMPACTION = "anthropic.usage.compaction."


@lru_cache(maxsize=8192)
def _is_of_compaction(name: str) -> bool:
    return name.startswith(_COMPACTION)


def _cost_total(values: Mapping[str, Any]) -> dict[str, Any]:
    costs = json_object(values.get(COST_DETAILS))
    total = costs.get("total")
    if total is None:
        parts = [value for value in costs.values() if isinstance(value, int | float) and not isinstance(value, bool)]
        total = sum(parts) if parts else None
    return {} if total is None else {"response_cost": total}


def _region(texts: Mapping[str, str], service: str | None) -> str | None:
    region = texts.get("region") or (region_of_address(service or "", texts["address"]) if "address" in texts else None)
    return region[:64] if region else None


# --- Log records -----------------------------------------------------------------------------------------------


def _call_in_log(record: Record) -> _Call | None:
    """Return the call that a log record is about; None for all others."""
    name = record.text("event_name") or record.name
    sender = record.sender
    match name:
        case "claude_code.api_request" | "api_request" if any(
            count in record.attributes.values for count in _CLAUDE_CODE
        ):
            return _claude_code(record)
        case "codex.sse_event" if record.text("event_kind") == "response.completed":
            return _codex(record)
        case "gemini_cli.api_response":
            return _gemini_cli(record)
        case "gen_ai.client.inference.operation.details" if sender not in _LOGGED_BY:
            return _operation_details(record)
        case _:
            return None


def _claude_code(record: Record) -> _Call:
    event = _event(record, _log_id(record, "claude_code"), record.text("provider") or "anthropic", "chat")
    event.run_id = record.text("prompt_id") or event.run_id
    return _Call(record, event, _claude_code_usage(record))


_CLAUDE_CODE = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")


def _claude_code_usage(record: Record) -> dict[str, Any]:
    """Claude Code's input is without caches, as Anthropic's."""
    values = record.attributes.values
    if not any(name in values for name in _CLAUDE_CODE):
        return _usage(record)
    usage = {name: values.get(name, 0) for name in _CLAUDE_CODE}
    return usage | ({"speed": "fast"} if record.text("speed") == "fast" else {})


def _codex(record: Record) -> _Call:
    """Codex's input includes what was cached. Its tool tokens repeat the total."""
    values = record.attributes.values
    names = ("input_token_count", "output_token_count", "cached_token_count", "reasoning_token_count")
    event = _event(record, _log_id(record, "codex"), record.text("provider") or "openai", "responses")
    usage = {name: values[name] for name in names if name in values}
    return _Call(record, event, usage)


def _gemini_cli(record: Record) -> _Call:
    """Gemini's output is without thoughts and its input without the prompts of tools."""
    values = record.attributes.values
    names = ("input_token_count", "output_token_count", "cached_content_token_count", "thoughts_token_count")
    usage = {name: values.get(name, 0) for name in names}
    usage |= {
        theirs: values[name]
        for name, theirs in (
            ("tool_token_count", "tool_use_prompt_token_count"),
            ("total_token_count", "total_token_count"),
        )
        if name in values
    }
    event = _event(record, _log_id(record, "gemini_cli"), record.text("provider") or "google", "chat")
    event.run_id = record.text("prompt_id") or event.run_id
    return _Call(record, event, usage)


def _operation_details(record: Record) -> _Call | None:
    capability = _CALLS.get(record.text("operation") or "chat")
    usage = _usage(record)
    if capability is None or not usage:
        return None
    event = _event(record, _log_id(record, "gen_ai"), record.text("provider"), capability)
    return _Call(record, event, usage)


def _log_id(record: Record, name: str) -> str:
    """Return the id of a log record: the provider's id of the call, else the digest of its time and attributes."""
    for call_id in _ids(record):
        return short_text(f"{name}:{call_id}") or name
    content = msgspec.json.encode([record.end, record.attributes], order="deterministic")
    return f"{name}:{hashlib.blake2b(content, digest_size=16).hexdigest()}"


# --- Values ----------------------------------------------------------------------------------------------------


_STATUS_CODES = dict.fromkeys(("http.response.status_code", "http.status_code", "status_code"))


def _status_code(record: Record) -> int | None:
    values = record.attributes.values
    if _STATUS_CODES.keys().isdisjoint(values):
        return None
    code = next(values[name] for name in _STATUS_CODES if name in values)
    return code if isinstance(code, int) and not isinstance(code, bool) and 100 <= code <= 599 else None  # noqa: PLR2004


def _amount(value: Any) -> Decimal | None:
    """Return a sender's estimate; None for 0, which only means that no price is known, and for what is no amount."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_AMOUNT_USD:
        return None
    return Decimal(repr(value))


def _tags(attributes: Attributes) -> list[str] | None:
    return [tag for tag in map(short_text, attributes.tags) if tag] if attributes.tags else None


def _uuid(value: str | None) -> UUID | None:
    try:
        return UUID(value) if value else None
    except ValueError:
        return None


def _metadata(record: Record, texts: Mapping[str, str]) -> dict[str, Any] | None:
    span_id = record.span_id if record.is_log else ""  # a span's is in the event's id
    return _otel_metadata(record.sender, record.scope, span_id, record.text("auth_mode"), texts.get("environment"))


@lru_cache(maxsize=1024)
def _otel_metadata(*values: str | None) -> dict[str, Any] | None:
    """Return what is stored of where a record comes from; spans of one process have the same."""
    names = ("sender", "scope", "span_id", "auth_mode", "environment")
    known = {name: value for name, value in zip(names, values, strict=True) if value}
    return {"otel": known} if known else None
