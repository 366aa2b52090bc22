"""OTLP in protobuf. The structure is walked first, so that a small body of millions of empty messages does not become
gigabytes of objects; each span or log record is then decoded separately.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from operator import itemgetter
from typing import Any, Final, NamedTuple

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
    ONE_RECORD,
    RECORDS,
    Attributes,
    ReadAttribute,
    Record,
    collect,
    known_name,
    read_attribute,
    stored_value,
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
_VALUE_TAG, _TEXT_TAG, _INT_TAG, _BIGINT = 0x12, 0x0A, 0x18, 2**63
_MAX_CACHED, _MAX_CACHED_BYTES = 16_384, 256
# Attributes of a layout, and what is cached of layouts and of texts.
_MAX_LAYOUT, _MAX_LAYOUTS = 64, 1_024
_MAX_SAID, _MAX_SAID_BYTES = 2_048, 2_048
# Of two bytes there are 16,384.
_SHORT_NUMBER = 2
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
            raise TooMany(limit, RECORDS)
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


def _varint(encoded: memoryview | bytes, position: int) -> tuple[int, int]:
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
            raise TooMany(_MAX_FIELDS, "attributes, events, links and other fields", where=ONE_RECORD)
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


def _attributes(encoded: Iterable[bytes]) -> Attributes:
    pairs = tuple(encoded)  # reading protobuf's own list several times takes longer
    layout = _last_layout[0]
    if len(pairs) != len(layout.names) or not all(map(bytes.startswith, pairs, layout.names)):
        found = _layout_of(pairs)
        if found is None:
            return collect([_decoded[pair] for pair in pairs[:MAX_ATTRIBUTES] if pair and _may_be_read(pair)])
        layout = _last_layout[0] = found
    said = _said[layout.texts_of(pairs)]
    values: dict[str, Any] = {}
    for position, name, role in layout.others:
        value = _value(pairs[position])
        if role != "number" or type(value) is not int:  # most are
            value = stored_value(role, value)
        if value is not None:
            values.setdefault(name, value)
    return Attributes(said.texts, values, said.tags)


def _layout_of(pairs: Sequence[bytes]) -> "_Layout | None":
    """Return the layout of attributes; None if there are too many of them, or a key is not short."""
    if not pairs or len(pairs) > _MAX_LAYOUT:
        return None
    try:
        return _layouts[tuple([pair[: 2 + pair[1]] for pair in pairs])]
    except IndexError:  # an attribute without key and value
        return None


def _may_be_read(pair: bytes) -> bool:
    """Whether an attribute is read, by its key, which encoders write first. What is not read is not decoded."""
    name = _name_in(pair[: 2 + pair[1]])
    return name is None or _is_read(name)


def _name_in(beginning: bytes) -> str | None:
    """Return the key with which an attribute begins; None if it is longer or cut off, or something else comes first."""
    tag, length = beginning[:2]
    if tag != _KEY_TAG or length > _MAX_SHORT_KEY or len(beginning) != 2 + length:
        return None
    return str(beginning[2:], "utf-8", "replace")


class _Layout(NamedTuple):
    """What is read of messages whose attributes begin with these names: a function that returns the texts and tags, and
    the positions of others, with their names and roles."""

    names: tuple[bytes, ...]
    texts_of: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]
    others: tuple[tuple[int, str, str], ...]


class _Layouts(dict[tuple[bytes, ...], _Layout]):
    """What is read of messages whose attributes begin with these keys, in this order; None if a key is not short. The
    spans of an instrumentation have a few layouts."""

    def __missing__(self, beginnings: tuple[bytes, ...]) -> _Layout | None:
        texts: list[int] = []
        others: list[tuple[int, str, str]] = []
        for position, name in enumerate(map(_name_in, beginnings)):
            if name is None:
                return None  # what is no key may be content, which is not remembered
            rule = rule_of(name)
            if rule is not None and rule.role in ("text", "tags"):
                texts.append(position)
            elif rule is not None:
                others.append((position, name, rule.role))
        if len(self) >= _MAX_LAYOUTS:
            self.clear()
        self[beginnings] = layout = _Layout(beginnings, _getter(texts), tuple(others))
        return layout


def _getter(positions: Sequence[int]) -> Callable[[tuple[bytes, ...]], tuple[bytes, ...]]:
    """Return a function that returns the items at these positions, always as a tuple."""
    if len(positions) > 1:
        return itemgetter(*positions)
    return itemgetter(slice(positions[0], positions[0] + 1) if positions else slice(0))


class _Said(dict[tuple[bytes, ...], Attributes]):
    """Texts and tags that were decoded before. The calls of a session have the same ones."""

    def __missing__(self, pairs: tuple[bytes, ...]) -> Attributes:
        attributes = collect([_decoded[pair] for pair in pairs])
        if sum(map(len, pairs)) <= _MAX_SAID_BYTES:
            if len(self) >= _MAX_SAID:
                self.clear()
            self[pairs] = attributes
        return attributes


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


class _Numbers(dict[bytes, int | None]):
    """Whole numbers by their bytes, of which small ones are known; None for others, such as negative ones."""

    def __missing__(self, encoded: bytes) -> int | None:
        number, end = _varint(encoded, 0)
        if end != len(encoded) or number >= _BIGINT:
            return None
        if end <= _SHORT_NUMBER:
            self[encoded] = number
        return number


_layouts = _Layouts()
# Most messages have the layout of the one before, which is known without building the key of the other layouts.
_last_layout = [_Layout((), _getter(()), ())]
_said = _Said()
_decoded = _Decoded()
_numbers = _Numbers()


def _value(pair: bytes) -> Any:
    """Return the value of an attribute that begins with a short key. Whole numbers and short texts are read without
    protobuf's parser, which takes several times as long."""
    start, size = 2 + pair[1], len(pair)
    if size > start + 3 and pair[start] == _VALUE_TAG and pair[start + 1] == size - start - 2:
        kind = pair[start + 2]
        if kind == _TEXT_TAG and pair[start + 3] == size - start - 4:
            return str(pair[start + 4 :], "utf-8")
        if kind == _INT_TAG:
            number = _numbers[pair[start + 3 :]]
            if number is not None:
                return number
    return _plain(KeyValue.FromString(pair).value)


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
