"""What the spans of a trace say to each other across requests (docs/otlp.md).

The spans of a trace are stored in Redis for an hour after the last one: ids, parents, and the session, user, agent,
workflow and tool that they name; no content. Calls take what they lack from them, whichever comes first. Without Redis,
or beyond the bounds, calls have only what their own request says; amounts never depend on it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

import msgspec
import redis

from billing.ingest.ledger_entries import event_key
from billing.ingest.otlp import SOURCE
from billing.ingest.otlp.outer_calls import MAX_ANCESTORS, SpanId
from billing.ingest.otlp.records import Record
from billing.ingest.otlp.traces import KnownSpans, TraceSpan, open_traces, surroundings, take, to_store
from billing.ingest.same_calls import Report, complete_events
from billing.ingest.types import ParsedEvent, UsageEventInput
from billing.ledger.types import LedgerEntry
from billing.models import EventKey
from billing.types import EventKind
from costtrack import heartbeat
from costtrack.breaker import Breaker
from costtrack.tenancy import tenant_reads
from organizations.models import Organization

breaker = Breaker("spans of other requests")
LIFETIME_SECONDS = 3600
_TIMEOUT_SECONDS = 0.25
# Of one request, of one trace, and of an organization in an hour. A span takes about 100 bytes.
_MAX_TRACES, _MAX_BYTES_PER_TRACE, MAX_SPANS_PER_HOUR = 1_000, 200_000, 500_000

# A trace is one text to which requests append a line for each span, so that a request takes three commands.
_ADD = """
for number, key in ipairs(KEYS) do
    if redis.call('STRLEN', key) < tonumber(ARGV[2]) then
        redis.call('APPEND', key, ARGV[number + 2])
        redis.call('EXPIRE', key, ARGV[1])
    end
end
"""
_SIZES = """
local sizes = {}
for number, key in ipairs(KEYS) do
    sizes[number] = redis.call('STRLEN', key)
end
return sizes
"""
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[str, TraceSpan])


class TraceContext:
    """The spans of one request, and those of the same traces that other requests had.

    The request first reads, then adds its spans, stores its calls, and reads again. So of two requests that are handled
    at the same time, the one that reads last sees the spans of both and the calls of both in the ledger.
    """

    def __init__(self, organization: Organization, records: Sequence[Record]) -> None:
        self._organization = organization
        self._records = records
        self._traces = open_traces(records)
        if len(self._traces) > _MAX_TRACES:
            self._traces = set(sorted(self._traces)[:_MAX_TRACES])
        self._own = {(record.trace_id, record.span_id): record for record in records if not record.is_log}
        self._sizes: Counter[str] = Counter()
        self.known = KnownSpans()
        self._read(sorted(self._traces))

    def add(self, events: Sequence[ParsedEvent]) -> None:
        """Store the spans of the request, before its calls are stored."""
        spans = to_store(self._records, events, self._traces) if self._traces else {}
        if not spans:
            return
        lines = {
            trace_id: b"".join(_encoder.encode((span_id, span)) + b"\n" for span_id, span in by_id.items())
            for trace_id, by_id in spans.items()
        }
        for trace_id, text in lines.items():
            self._sizes[trace_id] += len(text)
        counter = f"costtrack:spans:{self._organization.pk}"

        def write(client: redis.Redis) -> None:
            with client.pipeline(transaction=False) as pipeline:
                pipeline.set(counter, 0, ex=LIFETIME_SECONDS, nx=True)
                pipeline.incrby(counter, sum(map(len, spans.values())))
                _, total = pipeline.execute()
            if total <= MAX_SPANS_PER_HOUR:
                bounds = (LIFETIME_SECONDS, _MAX_BYTES_PER_TRACE)
                client.eval(_ADD, len(lines), *map(self._key, lines), *bounds, *lines.values())

        _try(write)

    def complete(self, now: datetime) -> None:
        """Add to the calls of other requests what the spans of this one say, and the other way round."""
        if not self._traces:
            return
        before = self.known.records.keys() | self._own.keys()
        self._read([trace_id for trace_id, size in self._current_sizes().items() if size != self._sizes[trace_id]])
        read_since = self.known.records.keys() - before
        by_id = self.known.records | self._own
        found: dict[SpanId, dict[str, str]] = {}
        for span_id in self.known.call_ids:
            new = read_since if span_id in self._own else read_since | self._own.keys()
            if _is_inside(span_id, by_id, new) and (said := surroundings(by_id[span_id], by_id)):
                found[span_id] = said
        if found:
            self._complete(found, now)

    def _complete(self, found: Mapping[SpanId, Mapping[str, str]], now: datetime) -> None:
        keys = {event_key(SOURCE, ":".join(span_id)): span_id for span_id in found}
        with tenant_reads(self._organization.pk):
            event_keys = EventKey.objects.of(self._organization).filter(key__in=list(keys))
            stored = list(event_keys.values_list("key", "event_id"))
        reports: list[Report] = []
        for key, event_id in stored:
            event = UsageEventInput(source=SOURCE)
            take(event, found[keys[key]])
            entry = LedgerEntry(SOURCE, EventKind.MODEL_CALL.value, now)
            for name in ("session_id", "agent_id", "agent_name", "workflow_id", "tool"):
                setattr(entry, name, getattr(event, name))
            entry.user_ref = self._organization.user_name(event.user_id or "")
            reports.append((event_id, ParsedEvent(0, event), entry))
        if reports:
            complete_events(self._organization, reports, now)

    def _key(self, trace_id: str) -> str:
        return f"costtrack:trace:{self._organization.pk}:{trace_id}"

    def _current_sizes(self) -> dict[str, int]:
        traces = sorted(self._traces)
        sizes = _try(lambda client: client.eval(_SIZES, len(traces), *map(self._key, traces)))
        return dict(zip(traces, sizes or (), strict=False))

    def _read(self, traces: Sequence[str]) -> None:
        if not traces:
            return
        texts = _try(lambda client: client.mget(list(map(self._key, traces))))
        for trace_id, text in zip(traces, texts or (), strict=False):
            encoded = (text or "").encode()
            self._sizes[trace_id] = len(encoded)
            for line in encoded.splitlines():
                own_id, span = _decoder.decode(line)
                self.known.add((trace_id, own_id), span)


def _is_inside(span_id: SpanId, by_id: Mapping[SpanId, Record], spans: AbstractSet[SpanId]) -> bool:
    """Whether one of the spans is around this one."""
    record, seen = by_id[span_id], 0
    while seen < MAX_ANCESTORS:
        around = (record.trace_id, record.parent_id)
        if around in spans:
            return True
        if around not in by_id:
            return False
        record, seen = by_id[around], seen + 1
    return False


def _try(use: Callable[[redis.Redis], Any]) -> Any:
    """Return the result, None without Redis."""
    if not breaker.may_try():
        return None
    try:
        result = use(heartbeat.client(_TIMEOUT_SECONDS))
    except redis.RedisError as error:
        breaker.failed(error)
        return None
    breaker.worked()
    return result
