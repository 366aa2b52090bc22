"""Traces whose spans arrive in several requests (docs/otlp.md). Pure.

A span that ends late, such as an agent's, is exported after the calls inside it, often by another process. What such
spans say is stored for a while (`billing/ingest/trace_context.py`), so that the order of requests does not matter.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from billing.ingest.otlp.attributes import CALL_IDS
from billing.ingest.otlp.outer_calls import MAX_ANCESTORS, SpanId, nearest_calls
from billing.ingest.otlp.records import Attributes, Record
from billing.ingest.types import ParsedEvent, UsageEventInput
from costtrack.names import clean_name

# What a call takes from the spans around it.
INHERITED = ("session_id", "user_id", "agent_id", "agent_name", "workflow_id", "tool")
_INHERITED = frozenset(INHERITED)
_CALL_IDS = frozenset(CALL_IDS)


class TraceSpan(Struct, array_like=True, omit_defaults=True, gc=False):
    """A span as it is stored: its parent, what it gives to the calls inside it, and if it is a call, one of its ids."""

    parent_id: str = ""
    texts: dict[str, str] = {}
    call_id: str = ""


class KnownSpans(Struct):
    """Spans of other requests: as records, and the ids of those that are calls."""

    records: dict[SpanId, Record] = {}
    call_ids: dict[SpanId, str] = {}

    def add(self, span_id: SpanId, span: TraceSpan) -> None:
        trace_id, own_id = span_id
        attributes = Attributes(texts=span.texts)
        self.records[span_id] = Record(
            trace_id=trace_id, span_id=own_id, parent_id=span.parent_id, attributes=attributes
        )
        if span.call_id:
            self.call_ids[span_id] = span.call_id


def open_traces(records: Sequence[Record]) -> set[str]:
    """Return the traces that may have spans in other requests which matter: a parent is missing, or a span without a
    provider's id has something to give to calls, or is one itself."""
    present = {(record.trace_id, record.span_id) for record in records if not record.is_log}
    return {
        record.trace_id
        for record in records
        if not record.is_log
        and record.trace_id
        and (
            (record.trace_id, record.parent_id) not in present
            if record.parent_id
            else _CALL_IDS.isdisjoint(record.attributes.values)
            and (bool(record.attributes.values) or not _INHERITED.isdisjoint(record.attributes.texts))
        )
    }


def to_store(
    records: Sequence[Record], events: Iterable[ParsedEvent], traces: set[str]
) -> dict[str, dict[str, TraceSpan]]:
    """Return the spans of the open traces, by trace and span id."""
    call_ids = {parsed.index: parsed.event.request_id or next(iter(parsed.call_ids), "") for parsed in events}
    spans: dict[str, dict[str, TraceSpan]] = {}
    for index, record in enumerate(records):
        if not record.is_log and record.trace_id in traces:
            texts = {name: text for name, text in record.attributes.texts.items() if name in _INHERITED}
            span = TraceSpan(record.parent_id, texts, call_ids.get(index) or "")
            spans.setdefault(record.trace_id, {})[record.span_id] = span
    return spans


def surroundings(record: Record, by_id: Mapping[SpanId, Record]) -> dict[str, str]:
    """Return what the spans around a span say; the nearest one counts."""
    found: dict[str, str] = {}
    parent, seen = by_id.get((record.trace_id, record.parent_id)), 0
    while parent is not None and seen < MAX_ANCESTORS:
        for name, text in parent.attributes.texts.items():
            if name in _INHERITED and name not in found and (value := clean_name(text)):
                found[name] = value
        parent, seen = by_id.get((parent.trace_id, parent.parent_id)), seen + 1
    return found


def take(event: UsageEventInput, found: Mapping[str, str]) -> None:
    """Set the fields that the event itself does not have."""
    for name, value in found.items():
        if getattr(event, name) is None:
            setattr(event, name, value)


def link_calls(
    events: Sequence[ParsedEvent], records: Sequence[Record], by_id: Mapping[SpanId, Record], known: KnownSpans
) -> list[ParsedEvent]:
    """Return the events with the ids of calls in other requests that surround them, or that alone are inside them. Such
    calls are the same if their tokens agree."""
    if not known.call_ids:
        return list(events)
    own = {
        (record.trace_id, record.span_id): parsed
        for parsed in events
        if not (record := records[parsed.index]).is_log and parsed.event.status == "success"
    }
    more: dict[int, list[str]] = {}
    for outer, inner in nearest_calls({**known.call_ids, **own}, by_id).items():
        if len(inner) > 1:
            continue
        for span_id, other in ((outer, inner[0]), (inner[0], outer)):
            if span_id in own and other not in own:
                more.setdefault(own[span_id].index, []).append(known.call_ids[other])
    return [
        msgspec.structs.replace(parsed, call_ids=(*parsed.call_ids, *more[parsed.index]))
        if parsed.index in more
        else parsed
        for parsed in events
    ]
