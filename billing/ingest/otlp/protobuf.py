"""OTLP in protobuf. The structure is walked first, so that a small body of millions of empty messages does not become
gigabytes of objects; each span or log record is then decoded separately.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from billing.ingest.otlp.attributes import rule_of
from billing.ingest.otlp.metrics import (
    CUMULATIVE,
    DELTA,
    FAMILIES,
    Family,
    Point,
    family_of,
    is_time,
    series_digest,
    token_count,
)
from billing.ingest.otlp.records import (
    MAX_ATTRIBUTES,
    Attributes,
    ReadAttribute,
    Record,
    collect,
    known_name,
    read_attribute,
)
from billing.ingest.otlp.shallow import ShallowLogRecord, ShallowResource, ShallowSpan
from billing.ingest.types import Malformed, TooMany

# The field numbers of opentelemetry/proto, the same for spans, log records and metrics.
_RESOURCES, _RESOURCE, _SCOPES, _SCOPE, _ITEMS = 1, 1, 2, 1, 2
_ATTRIBUTES_OF_SPAN, _ATTRIBUTES_OF_LOG = 9, 6
_CONTENT_OF_SPAN: Final = frozenset({3, 11, 13})
_CONTENT_OF_LOG: Final = frozenset({4})
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LARGE = 16_384
_KEY_TAG, _MAX_SHORT_KEY = 0x0A, 0x7F
_MAX_KEYS, _MAX_CACHED, _MAX_CACHED_BYTES = 8_192, 16_384, 256
_MAX_FIELDS = 100_000
_ERROR_STATUS = 2


def spans(body: bytes, *, max_records: int) -> list[Record]:
    """Decode an ExportTraceServiceRequest. Raises Malformed, TooMany."""
    return _records(body, _span, max_records)


def logs(body: bytes, *, max_records: int) -> list[Record]:
    """Decode an ExportLogsServiceRequest. Raises Malformed, TooMany."""
    return _records(body, _log, max_records)


def metrics(body: bytes, *, max_records: int) -> tuple[list[Point], int]:
    """Decode the token counts in an ExportMetricsServiceRequest, and return the number of those that are unreadable.
    Raises Malformed, TooMany."""
    points: list[Point | None] = []
    try:
        budget = count()
        for number, resource_items in _counted(memoryview(body), budget, max_records):
            if number != _RESOURCES:
                continue
            parts = list(_counted(resource_items, budget, max_records))
            resource = b"".join(bytes(value) for part, value in parts if part == _RESOURCE)
            attributes = _attributes(
                ShallowResource.FromString(_shortened(memoryview(resource), 1, frozenset())).attributes
            )
            for part, scope_items in parts:
                if part == _SCOPES:
                    for scope, metric in _scope_items(list(_counted(scope_items, budget, max_records))):
                        identity = (resource, scope.name.encode())
                        points += _points(metric, attributes, identity, budget, max_records)
    except (DecodeError, IndexError, UnicodeDecodeError) as error:
        raise Malformed(f"The body is not OTLP in protobuf: {error}.") from error
    readable_points = [point for point in points if point is not None]
    return readable_points, len(points) - len(readable_points)


def _points(
    metric: memoryview, resource: Attributes, identity: tuple[bytes, ...], budget: Iterator[int], max_records: int
) -> Iterator[Point | None]:
    """Yield the points of a metric with token counts, None for unreadable ones."""
    name = ""
    data: list[tuple[int, memoryview]] = []
    for number, content in _counted(metric, budget, max_records):
        if number == 1:
            name = str(content, "utf-8")
        elif number in _POINT_TYPES:
            data.append((number, content))
    family = family_of(name)
    if family is None:
        return
    for number, content in data:
        encoded_points = [encoded for field, encoded in _counted(content, budget, max_records) if field == 1]
        temporality = next((_varint(content, start)[0] for field, _, _, start, _ in _fields(content) if field == 2), 0)  # noqa: PLR2004
        for encoded in encoded_points:
            point = _point(encoded, number, family, resource, (*identity, name.encode()), temporality)
            if point is not _NOT_COUNTED:
                yield point


def _point(
    encoded: memoryview,
    number: int,
    family: Family,
    resource: Attributes,
    identity: tuple[bytes, ...],
    temporality: int,
) -> Point | None:
    message, attributes_field, content = _POINT_TYPES[number]
    point: Any = message.FromString(_shortened(encoded, attributes_field, content, is_read=_is_read_of_point))
    kind = identity[-1].decode()
    if family.attribute:
        types = (pair.value.string_value for pair in point.attributes if pair.key == family.attribute)
        kind = next(types, "")
    if kind not in family.usage:
        return _NOT_COUNTED
    pairs = [bytes(encoded[start:end]) for field, _, _, start, end in _fields(encoded) if field == attributes_field]
    value = point.sum if number != _SUM else point.as_double or point.as_int
    tokens = token_count(value)
    if tokens is None or not is_time(point.time_unix_nano) or temporality not in (DELTA, CUMULATIVE):
        return None
    return Point(
        resource.texts.get("sender", ""),
        family.signal,
        series_digest(identity, pairs),
        temporality == DELTA,
        point.start_time_unix_nano,
        point.time_unix_nano,
        tokens,
        kind,
        resource.texts | _attributes(pairs).texts,
        kind in family.counted,
    )


_SUM = 7
# The messages of points by the field of a metric, with the numbers of their attributes and of what is not read.
_POINT_TYPES: Final[dict[int, tuple[Any, int, frozenset[int]]]] = {
    _SUM: (NumberDataPoint, 7, frozenset({5})),
    9: (HistogramDataPoint, 9, frozenset({6, 7, 8})),
    10: (ExponentialHistogramDataPoint, 1, frozenset({8, 9, 11})),
}
# The point repeats what others of its family report.
_NOT_COUNTED: Final = Point("", "", b"", is_delta=True, start=0, end=0, tokens=0, kind="", texts={}, is_counted=False)
_TOKEN_TYPES = frozenset(family.attribute for family in FAMILIES if family.attribute)


def _is_read_of_point(name: str) -> bool:
    return name in _TOKEN_TYPES or _is_read(name)


def _records(body: bytes, decode: Any, max_records: int) -> list[Record]:
    try:
        return [decode(item, scope, resource) for resource, scope, item in items(body, max_records=max_records)]
    except (DecodeError, IndexError, UnicodeDecodeError) as error:
        raise Malformed(f"The body is not OTLP in protobuf: {error}.") from error


def items(body: bytes, *, max_records: int) -> Iterator[tuple[Attributes, InstrumentationScope, memoryview]]:
    """Yield each span, log record or metric as it is encoded, with its resource's attributes and its scope. Raises
    IndexError if the body is cut off, TooMany beyond `max_records` messages of all levels."""
    budget = count()
    for number, resource_items in _counted(memoryview(body), budget, max_records):
        if number != _RESOURCES:
            continue
        parts = list(_counted(resource_items, budget, max_records))
        attributes = Attributes()
        for part, value in parts:
            if part == _RESOURCE:
                attributes = _attributes(ShallowResource.FromString(_shortened(value, 1, frozenset())).attributes)
        for part, scope_items in parts:
            if part == _SCOPES:
                for scope, item in _scope_items(list(_counted(scope_items, budget, max_records))):
                    yield attributes, scope, item


def _scope_items(parts: list[tuple[int, memoryview]]) -> Iterator[tuple[InstrumentationScope, memoryview]]:
    scope = InstrumentationScope()
    for part, value in parts:
        if part == _SCOPE:
            scope = InstrumentationScope.FromString(_shortened(value, 3, frozenset()))
    for part, value in parts:
        if part == _ITEMS:
            yield scope, value


def _counted(encoded: memoryview, budget: Iterator[int], limit: int) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and content of each field with a length. Raises TooMany when the budget reaches the limit."""
    for number, wire_type, _, start, end in _fields(encoded):
        if next(budget) > limit:
            raise TooMany
        if wire_type == _BYTES:
            yield number, encoded[start:end]


def _fields(encoded: memoryview) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield the fields of a message: number, wire type, and where the field and its content begin and end."""
    position, size = 0, len(encoded)
    while position < size:
        begin = position
        tag, position = _varint(encoded, position)
        wire_type = tag & 7
        if wire_type == _BYTES:
            length, position = _varint(encoded, position)
            end = position + length
        elif wire_type == _VARINT:
            _, end = _varint(encoded, position)
        elif wire_type == _FIXED64:
            end = position + 8
        elif wire_type == _FIXED32:
            end = position + 4
        else:
            raise IndexError("unknown wire type")
        if end > size or not tag >> 3:
            raise IndexError("truncated message")
        yield tag >> 3, wire_type, begin, position, end
        position = end


def _varint(encoded: memoryview, position: int) -> tuple[int, int]:
    byte = encoded[position]
    if byte < 0x80:  # noqa: PLR2004 - the continuation bit
        return byte, position + 1
    value, shift = byte & 0x7F, 7
    while True:
        position += 1
        byte = encoded[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return value, position + 1
        shift += 7
        if shift > 63:  # noqa: PLR2004 - ten bytes
            raise IndexError("a number of more than ten bytes")


def _is_read(name: str) -> bool:
    return rule_of(name) is not None


def _shortened(
    encoded: memoryview, attributes: int, content: frozenset[int], *, is_read: Callable[[str], bool] = _is_read
) -> bytes:
    """Return a large message without the attributes that are not read and without other content."""
    if len(encoded) <= _LARGE:
        return bytes(encoded)
    parts: list[memoryview] = []
    found = 0
    for position, (number, _, begin, start, end) in enumerate(_fields(encoded)):
        if position > _MAX_FIELDS:
            raise TooMany
        if number in content:
            continue
        if number == attributes:
            found += 1
            if found > MAX_ATTRIBUTES or not is_read(_key(encoded[start:end])):
                continue
        parts.append(encoded[begin:end])
    return b"".join(parts)


def _key(attribute: memoryview) -> str:
    for number, wire_type, _, start, end in _fields(attribute):
        if number == 1 and wire_type == _BYTES:
            return str(attribute[start:end], "utf-8", "replace")
    return ""


def _attributes(pairs: Sequence[bytes]) -> Attributes:
    return collect([_decoded[pair] for pair in pairs[:MAX_ATTRIBUTES] if pair and _may_be_read[pair[: 2 + pair[1]]]])


class _MayBeRead(dict[bytes, bool]):
    """Whether an attribute is read, by how it begins: with its key, which encoders write first. What is not read is
    not decoded."""

    def __missing__(self, beginning: bytes) -> bool:
        tag, length = beginning[:2]
        if tag != _KEY_TAG or length > _MAX_SHORT_KEY:
            return True
        if len(self) >= _MAX_KEYS:
            self.clear()
        self[beginning] = _is_read(str(beginning[2:], "utf-8", "replace"))
        return self[beginning]


class _Decoded(dict[bytes, ReadAttribute | None]):
    """Attributes that were decoded before. Most are the same in many spans: names of models and operations, users,
    sessions, small counts."""

    def __missing__(self, pair: bytes) -> ReadAttribute | None:
        attribute = KeyValue.FromString(pair)
        read = read_attribute(attribute.key, _plain(attribute.value))
        if read is not None and len(pair) <= _MAX_CACHED_BYTES:
            if len(self) >= _MAX_CACHED:
                self.clear()
            self[pair] = read
        return read


_may_be_read = _MayBeRead()
_decoded = _Decoded()


def _plain(value: AnyValue) -> Any:
    return value.string_value or value.int_value or _other_value(value)


def _other_value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [item.string_value for item in value.array_value.values[:MAX_ATTRIBUTES]]
    return None if kind in (None, "kvlist_value", "bytes_value") else getattr(value, kind)


def _span(encoded: memoryview, scope: InstrumentationScope, resource: Attributes) -> Record:
    span = ShallowSpan.FromString(_shortened(encoded, _ATTRIBUTES_OF_SPAN, _CONTENT_OF_SPAN))
    return Record(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=known_name(span.name),
        kind=span.kind,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        is_error=span.status.code == _ERROR_STATUS,
        scope=scope.name[:100],
        attributes=_attributes(span.attributes),
        resource=resource,
    )


def _log(encoded: memoryview, scope: InstrumentationScope, resource: Attributes) -> Record:
    log = ShallowLogRecord.FromString(_shortened(encoded, _ATTRIBUTES_OF_LOG, _CONTENT_OF_LOG))
    return Record(
        is_log=True,
        trace_id=log.trace_id.hex(),
        span_id=log.span_id.hex(),
        name=known_name(log.event_name) or known_name(log.body.string_value[:100]),
        end=log.time_unix_nano or log.observed_time_unix_nano,
        scope=scope.name[:100],
        attributes=_attributes(log.attributes),
        resource=resource,
    )
