"""Spans of OpenTelemetry through HTTP, in protobuf, durable, priced, deduplicated - beside JSON intake of similar calls
in the same run.

Spans are sent in batches of 1,000, and of 512 as the batch processor of the SDKs exports them. Each has the attributes
that instrumentations set, and the provider's id of the response, by which calls of several sources are compared. Events
in JSON have none in the first baseline, and the same ids (`request_id`) in the second one. All use two connections.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from itertools import count
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from benchmarks import load
from benchmarks.bench import Bench
from benchmarks.client import Caller
from benchmarks.load import BATCH, CONNECTIONS
from benchmarks.report import Figure, say
from benchmarks.site import Site

BUDGET = 0.6
EXPORTED = 512
"""Spans in one export of the SDKs' batch processor."""
_PIECE = 20_000
_NANOSECONDS = 10**9
_RESOURCE = {"service.name": "agents", "telemetry.sdk.language": "python", "telemetry.sdk.version": "1.38.0"}
# What instrumentations set besides.
_OTHERS = {
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.max_tokens": 1024,
    "gen_ai.response.finish_reasons": ["stop"],
    "server.address": "api.example.com",
    "server.port": 443,
}
_numbers = count(1)


def run(bench: Bench) -> list[Figure]:
    with bench.site(bench.fresh("otlp")) as site:
        json, with_ids, batches, exports = [], [], [], []
        for number in range(bench.rounds):
            say(f"otlp: round {number + 1} of {bench.rounds}")
            json.append(bench.load / load.send(site, bench.load))
            with_ids.append(bench.load / _send(site, bench.load, _events_with_ids))
            batches.append(bench.load / _send(site, bench.load, partial(_spans, batch=BATCH)))
            exports.append(bench.load / _send(site, bench.load, partial(_spans, batch=EXPORTED)))
    name = f"JSON intake, {CONNECTIONS} connections x {BATCH:,}"
    spans, exported = (f"OTLP spans, {CONNECTIONS} connections x {size:,}" for size in (BATCH, EXPORTED))
    same = f"{name}, with the provider's ids"
    return [
        Figure(spans, "events/s", batches, name, json, BUDGET),
        Figure(exported, "events/s", exports, name, json, BUDGET),
        Figure(f"{spans}, both with the provider's ids", "events/s", batches, same, with_ids, BUDGET),
        Figure(f"{exported}, both with the provider's ids", "events/s", exports, same, with_ids, BUDGET),
    ]


def _send(site: Site, events: int, requests: Callable[[Caller, int], list[bytes]]) -> float:
    """Send this many events, and return the seconds that the server took."""
    sizes = [min(_PIECE, events - start) for start in range(0, events, _PIECE)]
    return sum(site.caller.seconds_for(requests(site.caller, size), CONNECTIONS) for size in sizes)


def _events_with_ids(caller: Caller, number: int) -> list[bytes]:
    events = [{**event, "request_id": f"chatcmpl-{event['id']}"} for event in load.new_events(number)]
    batches = [events[start : start + BATCH] for start in range(0, number, BATCH)]
    return [caller.post("/usage/events", msgspec.json.encode({"events": batch})) for batch in batches]


def _spans(caller: Caller, number: int, batch: int) -> list[bytes]:
    events = load.new_events(number)
    return [
        caller.post("/otlp/v1/traces", _export(events[start : start + batch]), content_type="application/x-protobuf")
        for start in range(0, number, batch)
    ]


def _export(events: list[dict[str, Any]]) -> bytes:
    scope = InstrumentationScope(name="opentelemetry.instrumentation.openai_v2", version="2.2b0")
    spans = ResourceSpans(
        resource=Resource(attributes=_key_values(_RESOURCE)),
        scope_spans=[ScopeSpans(scope=scope, spans=map(_span, events))],
    )
    return ExportTraceServiceRequest(resource_spans=[spans]).SerializeToString()


def _span(event: Mapping[str, Any]) -> Span:
    number = next(_numbers)
    end = datetime.fromisoformat(event["occurred_at"])
    start = end - timedelta(milliseconds=event["duration_ms"])
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": event["service"],
        "gen_ai.request.model": event["model"],
        "gen_ai.response.model": event["model"],
        "gen_ai.response.id": f"chatcmpl-{event['id']}",
        "gen_ai.usage.input_tokens": event["input_tokens"] + event["cache_read_tokens"],
        "gen_ai.usage.output_tokens": event["output_tokens"],
        "gen_ai.usage.cache_read.input_tokens": event["cache_read_tokens"],
        "gen_ai.conversation.id": event["session_id"],
        "gen_ai.agent.id": event["agent_id"],
        "gen_ai.workflow.name": event["workflow_id"],
        "user.id": event["user_id"],
        "costtrack.tags": event["tags"],
        **_OTHERS,
    }
    return Span(
        trace_id=blake2b(event["run_id"].encode(), digest_size=16).digest(),
        span_id=number.to_bytes(8, "big"),
        name=f"chat {event['model']}",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=int(start.timestamp() * _NANOSECONDS),
        end_time_unix_nano=int(end.timestamp() * _NANOSECONDS),
        attributes=_key_values(attributes),
    )


def _key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_any_value(value)) for name, value in attributes.items()]


def _any_value(value: Any) -> AnyValue:
    match value:
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=map(_any_value, value)))
        case _:
            return AnyValue(string_value=value)
