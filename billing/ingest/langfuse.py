"""The ingestion endpoint of Langfuse's SDKs before version 3: `{"batch": [{"id", "type", "timestamp", "body"}]}`. Pure.

A generation is created by one event and updated by others. Those of one request are merged; those of later requests
are reports of the same call, which complete its event (docs/ingestion.md). Traces say whose generations they are. All
other events are accepted and dropped. Newer SDKs send spans of OpenTelemetry.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw, Struct

from billing.ingest.json_records import split_array, to_record_error
from billing.ingest.litellm.payload import short_text
from billing.ingest.types import Malformed, ParsedBatch, ParsedEvent, UsageEventInput
from billing.ingest.usage.raw import raw_object
from billing.ingest.usage.usage_reader import read_usage
from billing.ingest.validate import InvalidEventError, normalize, take_reading

SOURCE = "langfuse"

_GENERATIONS = frozenset({"generation-create", "generation-update"})
_OBSERVATIONS = frozenset({"observation-create", "observation-update"})
_TRACE = "trace-create"
_MAX_TAGS = 50
_MAX_DURATION_MS = 10**12


class _Envelope(Struct):
    id: str
    type: str
    body: Raw
    timestamp: Any = None


class Generation(Struct, omit_defaults=True):
    """What is read of a generation, without its input and output. The quarantine stores it."""

    envelope_ids: list[str] = []
    id: Any = None
    trace_id: Any = None
    model: Any = None
    start_time: Any = None
    end_time: Any = None
    timestamp: Any = None
    level: Any = None
    usage: dict[str, Any] = {}
    user_id: Any = None
    session_id: Any = None
    tags: list[str] = []


class Batch(Struct):
    """A request: the ids of its events, those that cannot be read with the reason, and its generations."""

    ids: list[str]
    errors: dict[str, str]
    generations: list[Generation]


class _Request(Struct):
    batch: Raw


_request = msgspec.json.Decoder(_Request)
_envelope = msgspec.json.Decoder(_Envelope)
_object = msgspec.json.Decoder(dict[str, Any])
_generation = msgspec.json.Decoder(Generation)


def split(body: bytes, *, max_records: int) -> Batch:
    """Read a request. Raises Malformed, TooMany."""
    try:
        encoded = split_array(bytes(_request.decode(body).batch), max_records)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"The body is not a batch of Langfuse: {error}.") from error
    batch = Batch([], {}, [])
    generations: dict[str, Generation] = {}
    traces: dict[str, dict[str, Any]] = {}
    for index, record in enumerate(encoded):
        try:
            envelope = _envelope.decode(record)
            content = _object.decode(envelope.body) if _is_read(envelope.type) else {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            batch.errors[f"event {index}"] = f"Event {index}: {error}."
            continue
        batch.ids.append(envelope.id)
        if envelope.type == _TRACE:
            traces[str(content.get("id"))] = content
        elif _is_generation(envelope.type, content):
            key = str(content.get("id") or envelope.id)
            merged = generations.setdefault(key, Generation(id=key))
            _merge(merged, envelope, content)
    for generation in generations.values():
        _take_trace(generation, traces.get(str(generation.trace_id), {}))
    batch.generations = list(generations.values())
    return batch


def _is_read(kind: str) -> bool:
    return kind in _GENERATIONS or kind in _OBSERVATIONS or kind == _TRACE


def _is_generation(kind: str, content: Mapping[str, Any]) -> bool:
    return kind in _GENERATIONS or (kind in _OBSERVATIONS and content.get("type") in ("GENERATION", "EMBEDDING"))


def _merge(generation: Generation, envelope: _Envelope, content: Mapping[str, Any]) -> None:
    """Add an event to a generation; later values replace earlier ones."""
    generation.envelope_ids.append(envelope.id)
    generation.timestamp = envelope.timestamp or generation.timestamp
    names = {
        "trace_id": "traceId",
        "model": "model",
        "start_time": "startTime",
        "end_time": "endTime",
        "level": "level",
    }
    for name, theirs in names.items():
        value = content.get(theirs)
        if isinstance(value, str):
            setattr(generation, name, value[:255])
    usage = next((content[name] for name in ("usageDetails", "usage") if isinstance(content.get(name), dict)), None)
    if usage:
        generation.usage = raw_object(usage)[0]
    costs = content.get("costDetails")
    total = costs.get("total") if isinstance(costs, dict) else None
    if isinstance(total, int | float) and not isinstance(total, bool):
        generation.usage["response_cost"] = total


def _take_trace(generation: Generation, trace: Mapping[str, Any]) -> None:
    generation.user_id = short_text(trace.get("userId"))
    generation.session_id = short_text(trace.get("sessionId"))
    tags = trace.get("tags")
    generation.tags = [tag for tag in tags[:_MAX_TAGS] if isinstance(tag, str)] if isinstance(tags, list) else []


def encode(generation: Generation) -> bytes:
    return msgspec.json.encode(generation)


def without_prompts(record: bytes) -> bytes:
    """Return a stored generation, which has no content."""
    return record


def parse(records: Sequence[Raw | bytes], *, now: datetime) -> ParsedBatch:
    """Convert stored generations to events."""
    batch = ParsedBatch(events=[], errors=[])
    for index, record in enumerate(records):
        try:
            generation = _generation.decode(record)
        except msgspec.DecodeError as error:
            batch.errors.append(to_record_error(index, bytes(record), error))
            continue
        parsed = to_events([generation], now=now)
        batch.events += [msgspec.structs.replace(event, index=index) for event in parsed.events]
        batch.errors += [msgspec.structs.replace(error, index=index) for error in parsed.errors]
    return batch


def to_events(generations: Iterable[Generation], *, now: datetime) -> ParsedBatch:
    """Convert generations to events."""
    batch = ParsedBatch(events=[], errors=[])
    for index, generation in enumerate(generations):
        try:
            parsed = _parsed_event(index, generation)
            normalize(parsed.event, now, reading=parsed.reading)
        except InvalidEventError as error:
            time = next((theirs for name, theirs in _TIMES.items() if getattr(generation, name)), "timestamp")
            batch.errors.append(error.at(index, short_text(generation.id), time=time))
        else:
            batch.events.append(parsed)
    return batch


# The times of a generation; the first that it has is the one of the event.
_TIMES = {"end_time": "endTime", "start_time": "startTime"}


def _parsed_event(index: int, generation: Generation) -> ParsedEvent:
    start, end = _instant("startTime", generation.start_time), _instant("endTime", generation.end_time)
    event = UsageEventInput(
        id=_event_id(generation),
        source=SOURCE,
        kind="model_call",
        status="failure" if generation.level == "ERROR" else "success",
        occurred_at=end or start or _instant("timestamp", generation.timestamp),
        duration_ms=_milliseconds(start, end),
        capability="chat",
        model=short_text(generation.model),
        run_id=short_text(generation.trace_id),
        user_id=short_text(generation.user_id),
        session_id=short_text(generation.session_id),
        tags=generation.tags or None,
    )
    usage = _usage(generation.usage)
    cost = usage.pop("response_cost", None)
    reading = None
    if usage:
        reading = read_usage(usage, model=event.model or "", source=SOURCE)
        take_reading(event, reading)
    if isinstance(cost, int | float) and not isinstance(cost, bool) and cost > 0:
        event.cost_usd = Decimal(repr(cost))
    return ParsedEvent(
        index,
        event,
        reading,
        is_gateway_cost=True,
        call_ids=(f"{SOURCE}:{generation.id}",),
        may_repeat_calls=True,
    )


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts. The old form has costs and a unit beside them."""
    counts = {name: value for name, value in usage.items() if name not in ("inputCost", "outputCost", "totalCost")}
    if str(counts.get("unit", "TOKENS")).upper() == "TOKENS":
        counts.pop("unit", None)
    if usage.get("totalCost"):
        counts.setdefault("response_cost", usage["totalCost"])
    return counts


def _event_id(generation: Generation) -> str | None:
    """Return an id for what this request says of the generation."""
    digest = hashlib.blake2b("\n".join(generation.envelope_ids).encode(), digest_size=8).hexdigest()
    return short_text(f"{generation.id}:{digest}")


def _instant(name: str, value: Any) -> datetime | None:
    if not isinstance(value, str) or not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise InvalidEventError(name, "invalid", f"{name} is not a time.") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _milliseconds(start: datetime | None, end: datetime | None) -> Decimal | None:
    if start is None or end is None:
        return None
    milliseconds = round(Decimal((end - start).total_seconds()) * 1000, 3)
    return milliseconds if 0 <= milliseconds <= _MAX_DURATION_MS else None
