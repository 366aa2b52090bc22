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
# Of one request, of one trace, and of an organization in an hour. About 100 bytes each.
_MAX_TRACES, _MAX_SPANS_PER_TRACE, MAX_SPANS_PER_HOUR = 1_000, 2_000, 500_000

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(TraceSpan)


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
        self.known = KnownSpans()
        if self._traces:
            self._read(sorted(self._traces))

    def add(self, events: Sequence[ParsedEvent]) -> None:
        """Store the spans of the request, before its calls are stored."""
        spans = to_store(self._records, events, self._traces) if self._traces else {}
        number = sum(map(len, spans.values()))
        if not number:
            return
        known = Counter(trace_id for trace_id, _ in self.known.records)

        def write(client: redis.Redis) -> None:
            counter = f"costtrack:spans:{self._organization.pk}"
            with client.pipeline(transaction=False) as pipeline:
                pipeline.set(counter, 0, ex=LIFETIME_SECONDS, nx=True)
                pipeline.incrby(counter, number)
                _, total = pipeline.execute()
                if total > MAX_SPANS_PER_HOUR:
                    return
                for trace_id, by_id in spans.items():
                    if known[trace_id] + len(by_id) <= _MAX_SPANS_PER_TRACE:
                        fields = [part for span_id, span in by_id.items() for part in (span_id, _encode(span))]
                        pipeline.hset(self._key(trace_id), items=fields)
                        pipeline.expire(self._key(trace_id), LIFETIME_SECONDS)
                pipeline.execute()

        _try(write)

    def complete(self, now: datetime) -> None:
        """Add to the calls of other requests what the spans of this one say, and the other way round."""
        if not self._traces:
            return
        before = self.known.records.keys() | self._own
        counts = Counter(trace_id for trace_id, _ in before)
        self._read([trace_id for trace_id, size in self._current_sizes().items() if size > counts[trace_id]])
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

        def count(client: redis.Redis) -> list[int]:
            with client.pipeline(transaction=False) as pipeline:
                for trace_id in traces:
                    pipeline.hlen(self._key(trace_id))
                return list(pipeline.execute())

        return dict(zip(traces, _try(count) or [], strict=False))

    def _read(self, traces: Sequence[str]) -> None:
        def read(client: redis.Redis) -> list[dict[str, str]]:
            with client.pipeline(transaction=False) as pipeline:
                for trace_id in traces:
                    pipeline.hgetall(self._key(trace_id))
                return list(pipeline.execute())

        for trace_id, spans in zip(traces, _try(read) or [], strict=False):
            for own_id, encoded in spans.items():
                self.known.add((trace_id, own_id), _decoder.decode(encoded))


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
