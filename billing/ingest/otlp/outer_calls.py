"""Spans of one request that report the same call, although the outer one does not know the provider's id.

A framework's or a program's span may surround the one that the provider's own library sends: Anthropic's does since
version 2. The outer span gets the ids of the inner one, and is a report of the same call then, if the tokens agree
(docs/ingestion.md).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from billing.ingest.otlp.records import Record
from billing.ingest.types import ParsedEvent
from billing.pricing.kinds import TOKEN_COUNTS

MAX_ANCESTORS = 50
# The scopes of libraries of providers, which send a span of each call.
_LIBRARIES = ("com.anthropic.sdk.",)

SpanId = tuple[str, str]


def outer_calls(
    events: Iterable[ParsedEvent], records: Sequence[Record], by_id: Mapping[SpanId, Record]
) -> dict[int, ParsedEvent]:
    """Return the calls that surround one other call, by their index, with the ids of that call."""
    calls = {
        (record.trace_id, record.span_id): parsed
        for parsed in events
        if not (record := records[parsed.index]).is_log and parsed.event.status == "success"
    }
    pairs = _around(calls, by_id)
    linked = {inner.index for inner in pairs.values()}
    libraries = [parsed for parsed in calls.values() if records[parsed.index].scope.startswith(_LIBRARIES)]
    outer: dict[int, ParsedEvent] = {}
    if libraries:
        others = [parsed for parsed in calls.values() if parsed.index not in pairs and not parsed.event.request_id]
        alone = [parsed for parsed in libraries if parsed.index not in linked]
        pairs |= _beside(alone, others, records)
        outer = _with_usage_of(libraries, calls.values(), records)
    by_index = {parsed.index: parsed for parsed in calls.values()} | outer
    # The innermost come first: they end earlier.
    for index in sorted(pairs, key=lambda index: records[index].end):
        inner = outer.get(pairs[index].index, pairs[index])
        parsed = by_index[index]
        ids = (*((inner.event.request_id,) if inner.event.request_id else ()), *inner.call_ids)
        outer[index] = msgspec.structs.replace(parsed, call_ids=(*parsed.call_ids, *ids))
    return outer


def _around(calls: Mapping[SpanId, ParsedEvent], by_id: Mapping[SpanId, Record]) -> dict[int, ParsedEvent]:
    """Return the calls in which exactly one other call was made, each with that call."""
    inner = nearest_calls(calls, by_id)
    return {calls[around].index: calls[made[0]] for around, made in inner.items() if len(made) == 1}


def nearest_calls(calls: Collection[SpanId], by_id: Mapping[SpanId, Record]) -> dict[SpanId, list[SpanId]]:
    """Return the calls that were made directly in another call, by that call."""
    inner: dict[SpanId, list[SpanId]] = {}
    for span_id in calls:
        record, seen = by_id.get(span_id), 0
        while record is not None and seen < MAX_ANCESTORS:
            around = (record.trace_id, record.parent_id)
            if around in calls:
                inner.setdefault(around, []).append(span_id)
                break
            record, seen = by_id.get(around), seen + 1
    return inner


def _beside(
    libraries: Iterable[ParsedEvent], others: Iterable[ParsedEvent], records: Sequence[Record]
) -> dict[int, ParsedEvent]:
    """Return the calls without an id that were going on when a library made a call with the same tokens, each with that
    call. (Spans of streams are not always the parents of the library's.)"""
    by_tokens: dict[tuple[object, ...], list[ParsedEvent]] = {}
    for parsed in others:
        by_tokens.setdefault(_tokens(parsed), []).append(parsed)
    pairs: dict[int, ParsedEvent] = {}
    for library in libraries:
        start = records[library.index].start
        candidates = by_tokens.get(_tokens(library), [])
        for position, parsed in enumerate(candidates):
            record = records[parsed.index]
            if record.start <= start <= record.end and not record.scope.startswith(_LIBRARIES):
                pairs[candidates.pop(position).index] = library
                break
    return pairs


def _with_usage_of(
    libraries: Iterable[ParsedEvent], calls: Iterable[ParsedEvent], records: Sequence[Record]
) -> dict[int, ParsedEvent]:
    """Return the calls that have the id of a library's call, with the usage that the library reports. (OpenLLMetry adds
    up the running totals of Anthropic's streams.)"""
    by_id = {parsed.event.request_id: parsed for parsed in libraries if parsed.event.request_id}
    corrected: dict[int, ParsedEvent] = {}
    for parsed in calls:
        library = by_id.get(parsed.event.request_id or "")
        if library is None or library.reading is None or records[parsed.index].scope.startswith(_LIBRARIES):
            continue
        if _tokens(parsed) != _tokens(library):
            counts = {name: getattr(library.event, name) for name in TOKEN_COUNTS}
            event = msgspec.structs.replace(parsed.event, **counts)
            corrected[parsed.index] = msgspec.structs.replace(parsed, event=event, reading=library.reading)
    return corrected


def _tokens(parsed: ParsedEvent) -> tuple[object, ...]:
    return (
        parsed.event.model,
        *(getattr(parsed.event, name) or 0 for name in TOKEN_COUNTS if name != "reasoning_tokens"),
    )
