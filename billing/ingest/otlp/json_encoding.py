"""OTLP in JSON. Spans and log records are decoded one by one, attributes only if they are read."""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from billing.ingest.json_records import split_array
from billing.ingest.otlp.metrics import (
    CUMULATIVE,
    DELTA,
    Family,
    Point,
    family_of,
    is_time,
    series_digest,
    token_count,
)
from billing.ingest.otlp.records import (
    MAX_ATTRIBUTES,
    ONE_RECORD,
    RECORDS,
    Attributes,
    Record,
    collect,
    known_name,
    read_attribute,
)
from billing.ingest.types import Malformed, TooMany

_EMPTY, _NULL = Raw(b"[]"), Raw(b"null")
_ERROR_STATUS = 2
# Longer bodies of log records are content.
_MAX_NAME_LENGTH = 200


class _Value(Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | None = None
    double_value: float | None = None
    array_value: Raw = _NULL


class _Attribute(Struct):
    key: str = ""
    value: _Value | None = None


class _Holder(Struct):
    attributes: Raw = _EMPTY


class _Scope(Struct):
    name: str = ""


class _Status(Struct):
    code: int | str = 0


class _Span(Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    kind: int | str = 0
    start_time_unix_nano: int = 0
    end_time_unix_nano: int = 0
    status: _Status | None = None
    attributes: Raw = _EMPTY


class _Log(Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    event_name: str = ""
    time_unix_nano: int = 0
    observed_time_unix_nano: int = 0
    body: Raw = _NULL
    attributes: Raw = _EMPTY


class _ResourceItems(Struct, rename="camel"):
    resource: _Holder | None = None
    scope_spans: Raw = _EMPTY
    scope_logs: Raw = _EMPTY
    scope_metrics: Raw = _EMPTY


class _ScopeItems(Struct, rename="camel"):
    scope: _Scope | None = None
    spans: Raw = _EMPTY
    log_records: Raw = _EMPTY
    metrics: Raw = _EMPTY


class _Request(Struct, rename="camel"):
    resource_spans: Raw = _EMPTY
    resource_logs: Raw = _EMPTY
    resource_metrics: Raw = _EMPTY


class _Point(Struct, rename="camel"):
    attributes: Raw = _EMPTY
    start_time_unix_nano: int = 0
    time_unix_nano: int = 0
    as_int: int | None = None
    as_double: float | None = None
    sum: float | None = None


class _Points(Struct, rename="camel"):
    data_points: Raw = _EMPTY
    aggregation_temporality: int | str = 0


class _Metric(Struct, rename="camel"):
    name: str = ""
    sum: _Points | None = None
    histogram: _Points | None = None
    exponential_histogram: _Points | None = None


_TEMPORALITIES: dict[int | str, int] = {
    DELTA: DELTA,
    CUMULATIVE: CUMULATIVE,
    "AGGREGATION_TEMPORALITY_DELTA": DELTA,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": CUMULATIVE,
}

# Numbers of 64 bits are texts in JSON, and some senders write numbers.
_request = msgspec.json.Decoder(_Request, strict=False)
_resource_items = msgspec.json.Decoder(_ResourceItems, strict=False)
_scope_items = msgspec.json.Decoder(_ScopeItems, strict=False)
_span_decoder = msgspec.json.Decoder(_Span, strict=False)
_log_decoder = msgspec.json.Decoder(_Log, strict=False)
_metric_decoder = msgspec.json.Decoder(_Metric, strict=False)
_point_decoder = msgspec.json.Decoder(_Point, strict=False)
_attribute = msgspec.json.Decoder(_Attribute, strict=False)
_value_decoder = msgspec.json.Decoder(_Value, strict=False)

Scope = str


class Resource(NamedTuple):
    """The attributes of a resource that are read, and all of them as they are encoded."""

    attributes: Attributes
    encoded: bytes


def spans(body: bytes, *, max_records: int) -> list[Record]:
    """Decode an ExportTraceServiceRequest. Raises Malformed, TooMany."""
    return _records(body, "spans", _span, max_records)


def logs(body: bytes, *, max_records: int) -> list[Record]:
    """Decode an ExportLogsServiceRequest. Raises Malformed, TooMany."""
    return _records(body, "logs", _log, max_records)


def metrics(body: bytes, *, max_records: int) -> tuple[list[Point], int]:
    """Decode the token counts in an ExportMetricsServiceRequest, and return the number of those that are unreadable.
    Raises Malformed, TooMany."""
    points: list[Point | None] = []
    try:
        for resource, scope, item in items(body, "metrics", max_records=max_records):
            points += _points(_metric_decoder.decode(item), resource, scope, max_records)
            if len(points) > max_records:
                raise TooMany(max_records, RECORDS)
    except RecursionError as error:
        raise Malformed("The body is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"The body is not OTLP in JSON: {error}.") from error
    readable_points = [point for point in points if point is not None]
    return readable_points, len(points) - len(readable_points)


def _points(metric: _Metric, resource: Resource, scope: Scope, max_records: int) -> Iterator[Point | None]:
    """Yield the points of a metric with token counts, None for unreadable ones."""
    family = family_of(metric.name)
    if family is None:
        return
    identity = (resource.encoded, scope.encode(), metric.name.encode())
    for data in (metric.sum, metric.histogram, metric.exponential_histogram):
        if data is None:
            continue
        temporality = _TEMPORALITIES.get(data.aggregation_temporality)
        for encoded in _elements(data.data_points, max_records):
            point = _point_decoder.decode(encoded)
            pairs = list(map(bytes, _elements(point.attributes, MAX_ATTRIBUTES, "attributes", where=ONE_RECORD)))
            kind = metric.name if not family.attribute else _token_type(family, pairs)
            if kind not in family.usage:
                continue
            tokens = token_count(_first(point.as_double, point.as_int, point.sum))
            if tokens is None or temporality is None or not is_time(point.time_unix_nano):
                yield None
                continue
            yield Point(
                resource.attributes.texts.get("sender", ""),
                family.signal,
                series_digest(identity, pairs),
                temporality == DELTA,
                point.start_time_unix_nano,
                point.time_unix_nano,
                tokens,
                kind,
                resource.attributes.texts | attributes(point.attributes).texts,
                kind in family.counted,
            )


def _token_type(family: Family, pairs: list[bytes]) -> str:
    named = (_pair(Raw(pair)) for pair in pairs if family.attribute.encode() in pair)
    values = (_plain(pair.value) for pair in named if pair.key == family.attribute)
    return str(next(values, ""))


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _records(
    body: bytes, signal: str, decode: Callable[[bytes, Scope, Attributes], Record], max_records: int
) -> list[Record]:
    try:
        return [
            decode(item, scope, resource.attributes)
            for resource, scope, item in items(body, signal, max_records=max_records)
        ]
    except RecursionError as error:
        raise Malformed("The body is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        raise Malformed(f"The body is not OTLP in JSON: {error}.") from error


def items(body: bytes, signal: str, *, max_records: int) -> Iterator[tuple[Resource, Scope, bytes]]:
    """Yield each span, log record or metric as it is encoded, with its resource's attributes and its scope. Raises
    msgspec's errors, TooMany beyond `max_records` of anything."""
    resources, scopes, name = {
        "spans": ("resource_spans", "scope_spans", "spans"),
        "logs": ("resource_logs", "scope_logs", "log_records"),
        "metrics": ("resource_metrics", "scope_metrics", "metrics"),
    }[signal]
    left = max_records
    request = _request.decode(body)
    for resource_item in _elements(getattr(request, resources), max_records):
        resource_items = _resource_items.decode(resource_item)
        holder = resource_items.resource or _Holder()
        resource = Resource(attributes(holder.attributes), bytes(holder.attributes))
        for scope_item in _elements(getattr(resource_items, scopes), max_records):
            scope_items = _scope_items.decode(scope_item)
            scope = scope_items.scope or _Scope()
            for item in _elements(getattr(scope_items, name), max_records):
                left -= 1
                if left < 0:
                    raise TooMany(max_records, RECORDS)
                yield resource, scope.name[:100], bytes(item)
            left -= 1
        left -= 1
        if left < 0:
            raise TooMany(max_records, RECORDS)


def _elements(array: Raw, limit: int, what: str = RECORDS, *, where: str = "A request") -> Any:
    encoded = bytes(array).strip()
    return () if encoded == b"null" else split_array(encoded, limit, what, where=where)


def attributes(encoded: Raw) -> Attributes:
    """Return the attributes that are read. Raises Malformed for an object, which some senders write instead."""
    array = bytes(encoded).strip()
    if array.startswith(b"{"):
        raise Malformed("attributes is an object. OTLP has a list of {key, value}.")
    pairs = _elements(encoded, MAX_ATTRIBUTES * 10, "attributes", where=ONE_RECORD)[:MAX_ATTRIBUTES]
    return collect(read_attribute(pair.key, _plain(pair.value)) for pair in map(_pair, pairs))


def _pair(encoded: Raw) -> _Attribute:
    try:
        return _attribute.decode(encoded)
    except msgspec.ValidationError:
        return _Attribute()  # not a value of OTLP; nothing is known about it


def _plain(value: _Value | None) -> Any:
    if value is None:
        return None
    for plain in (value.string_value, value.bool_value, value.int_value, value.double_value):
        if plain is not None:
            return plain
    if value.array_value is _NULL:
        return None
    holder = msgspec.json.decode(value.array_value)
    values = holder.get("values") if isinstance(holder, dict) else None
    strings = [item.get("stringValue") for item in values or () if isinstance(item, dict)]
    return [item for item in strings if isinstance(item, str)]


def _hex(text: str, size: int) -> str:
    """Return an id in hexadecimal. Some senders write it in base64, as other bytes are in JSON."""
    if len(text) == size * 2:
        return text.lower()
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error:
        return ""
    return decoded.hex() if len(decoded) == size else ""


def _span(encoded: bytes, scope: Scope, resource: Attributes) -> Record:
    span = _span_decoder.decode(encoded)
    code = span.status.code if span.status is not None else 0
    return Record(
        trace_id=_hex(span.trace_id, 16),
        span_id=_hex(span.span_id, 8),
        parent_id=_hex(span.parent_span_id, 8),
        name=known_name(span.name),
        kind=_KINDS.get(span.kind, 0) if isinstance(span.kind, str) else span.kind,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        is_error=code in (_ERROR_STATUS, "STATUS_CODE_ERROR"),
        scope=scope,
        attributes=attributes(span.attributes),
        resource=resource,
    )


_KINDS = {"SPAN_KIND_INTERNAL": 1, "SPAN_KIND_SERVER": 2, "SPAN_KIND_CLIENT": 3}


def _log(encoded: bytes, scope: Scope, resource: Attributes) -> Record:
    log = _log_decoder.decode(encoded)
    return Record(
        is_log=True,
        trace_id=_hex(log.trace_id, 16),
        span_id=_hex(log.span_id, 8),
        name=known_name(log.event_name) or _name_in(log.body),
        end=log.time_unix_nano or log.observed_time_unix_nano,
        scope=scope,
        attributes=attributes(log.attributes),
        resource=resource,
    )


def _name_in(body: Raw) -> str:
    if len(bytes(body)) > _MAX_NAME_LENGTH:
        return ""
    try:
        value = _value_decoder.decode(body)
    except msgspec.DecodeError:
        return ""
    return known_name(value.string_value or "")
