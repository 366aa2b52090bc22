"""OTLP in JSON. Spans and log records are decoded one by one, attributes only if they are read."""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from billing.ingest.json_records import split_array
from billing.ingest.otlp.records import MAX_ATTRIBUTES, Attributes, Record, known_name, readable
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


# Numbers of 64 bits are texts in JSON, and some senders write numbers.
_request = msgspec.json.Decoder(_Request, strict=False)
_resource_items = msgspec.json.Decoder(_ResourceItems, strict=False)
_scope_items = msgspec.json.Decoder(_ScopeItems, strict=False)
_span_decoder = msgspec.json.Decoder(_Span, strict=False)
_log_decoder = msgspec.json.Decoder(_Log, strict=False)
_attribute = msgspec.json.Decoder(_Attribute, strict=False)
_value_decoder = msgspec.json.Decoder(_Value, strict=False)

Scope = str


def spans(body: bytes, *, max_records: int) -> list[Record]:
    """Decode an ExportTraceServiceRequest. Raises Malformed, TooMany."""
    return _records(body, "spans", _span, max_records)


def logs(body: bytes, *, max_records: int) -> list[Record]:
    """Decode an ExportLogsServiceRequest. Raises Malformed, TooMany."""
    return _records(body, "logs", _log, max_records)


def check_metrics(body: bytes, *, max_records: int) -> None:
    """Check that a body is an ExportMetricsServiceRequest. Raises Malformed, TooMany."""
    _records(body, "metrics", lambda *_: Record(), max_records)


def _records(
    body: bytes, signal: str, decode: Callable[[bytes, Scope, Attributes], Record], max_records: int
) -> list[Record]:
    try:
        return [decode(item, scope, resource) for resource, scope, item in items(body, signal, max_records=max_records)]
    except RecursionError as error:
        raise Malformed("The body is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as error:
        raise Malformed(f"The body is not OTLP in JSON: {error}.") from error


def items(body: bytes, signal: str, *, max_records: int) -> Iterator[tuple[Attributes, Scope, bytes]]:
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
        resource = attributes(resource_items.resource.attributes) if resource_items.resource else Attributes()
        for scope_item in _elements(getattr(resource_items, scopes), max_records):
            scope_items = _scope_items.decode(scope_item)
            scope = scope_items.scope or _Scope()
            for item in _elements(getattr(scope_items, name), max_records):
                left -= 1
                if left < 0:
                    raise TooMany
                yield resource, scope.name[:100], bytes(item)
            left -= 1
        left -= 1
        if left < 0:
            raise TooMany


def _elements(array: Raw, max_records: int) -> Any:
    encoded = bytes(array).strip()
    return () if encoded == b"null" else split_array(encoded, max_records)


def attributes(encoded: Raw) -> Attributes:
    """Return the attributes that are read. Raises Malformed for an object, which some senders write instead."""
    array = bytes(encoded).strip()
    if array.startswith(b"{"):
        raise Malformed("attributes is an object. OTLP has a list of {key, value}.")
    pairs = _elements(encoded, MAX_ATTRIBUTES * 10)[:MAX_ATTRIBUTES]
    return readable(map(_pair, pairs), _plain)


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
