"""Requests of OpenTelemetry exporters, in both encodings."""

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

PROTOBUF, JSON = "application/x-protobuf", "application/json"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_numbers = count(1)


def any_value(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case list():
            return AnyValue(array_value=ArrayValue(values=map(any_value, value)))
        case _:
            return AnyValue(string_value=value)


def key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=name, value=any_value(value)) for name, value in attributes.items()]


def nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def span(
    attributes: Mapping[str, Any],
    *,
    name: str = "chat gpt-4o",
    kind: Span.SpanKind.ValueType = Span.SPAN_KIND_CLIENT,
    at: datetime,
    trace: int = 1,
    number: int | None = None,
    parent: int | None = None,
    is_error: bool = False,
    seconds: int = 2,
) -> Span:
    """A span that ends at a time; its ids are numbers."""
    number = next(_numbers) if number is None else number
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        parent_span_id=b"" if parent is None else parent.to_bytes(8, "big"),
        name=name,
        kind=kind,
        start_time_unix_nano=nanoseconds(at - timedelta(seconds=seconds)),
        end_time_unix_nano=nanoseconds(at),
        attributes=key_values(attributes),
        status=Status(code=Status.STATUS_CODE_ERROR) if is_error else None,
    )


def traces(
    spans: Iterable[Span], *, resource: Mapping[str, Any] | None = None, scope: str = "tests"
) -> ExportTraceServiceRequest:
    scoped = ScopeSpans(scope=InstrumentationScope(name=scope), spans=spans)
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=Resource(attributes=key_values(resource or {})), scope_spans=[scoped])]
    )


def log(attributes: Mapping[str, Any], *, at: datetime, event_name: str = "", body: str = "") -> LogRecord:
    return LogRecord(
        time_unix_nano=nanoseconds(at),
        event_name=event_name,
        body=AnyValue(string_value=body),
        attributes=key_values(attributes),
    )


def logs(
    records: Iterable[LogRecord], *, resource: Mapping[str, Any] | None = None, scope: str = "tests"
) -> ExportLogsServiceRequest:
    scoped = ScopeLogs(scope=InstrumentationScope(name=scope), log_records=records)
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=Resource(attributes=key_values(resource or {})), scope_logs=[scoped])]
    )


def metrics(
    points: Iterable[NumberDataPoint],
    *,
    name: str = "claude_code.token.usage",
    is_delta: bool = True,
    resource: Mapping[str, Any] | None = None,
    scope: str = "tests",
) -> ExportMetricsServiceRequest:
    """One sum of a sender."""
    total = Sum(
        data_points=points,
        aggregation_temporality=AGGREGATION_TEMPORALITY_DELTA if is_delta else AGGREGATION_TEMPORALITY_CUMULATIVE,
        is_monotonic=True,
    )
    scoped = ScopeMetrics(scope=InstrumentationScope(name=scope), metrics=[Metric(name=name, sum=total)])
    attributes = key_values({"service.name": "claude-code"} if resource is None else resource)
    return ExportMetricsServiceRequest(
        resource_metrics=[ResourceMetrics(resource=Resource(attributes=attributes), scope_metrics=[scoped])]
    )


def point(
    tokens: float, *, at: datetime, since: datetime | None = None, attributes: Mapping[str, Any] | None = None
) -> NumberDataPoint:
    return NumberDataPoint(
        start_time_unix_nano=0 if since is None else nanoseconds(since),
        time_unix_nano=nanoseconds(at),
        as_double=tokens,
        attributes=key_values({"type": "input"} if attributes is None else attributes),
    )


def as_json(request: Any) -> dict[str, Any]:
    """A request in OTLP's JSON: ids in hexadecimal, enumerations as numbers."""
    body = MessageToDict(request, use_integers_for_enums=True)
    for resource in (*body.get("resourceSpans", ()), *body.get("resourceLogs", ())):
        for scope in (*resource.get("scopeSpans", ()), *resource.get("scopeLogs", ())):
            for item in (*scope.get("spans", ()), *scope.get("logRecords", ())):
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in item:
                        item[name] = _hex(item[name])
    return body


def _hex(encoded: str) -> str:

    return base64.b64decode(encoded).hex()
