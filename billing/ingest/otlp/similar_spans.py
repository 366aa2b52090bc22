"""Spans of one request that differ only in their ids, times and counts.

A program sends many calls with the same texts: its model, user, session and tags. What the first of them became is
copied for the others, and only what differs is read and validated, which takes half the time.
"""

import copy
from collections.abc import Hashable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

from msgspec import Struct

from billing.ingest.otlp.attributes import CALL_IDS
from billing.ingest.otlp.records import Record
from billing.ingest.types import UsageEventInput
from billing.ingest.usage.types import UsageReading
from billing.ingest.usage.usage_reader import SumsReader, sums_reader, with_raw
from billing.ingest.validate import InvalidEventError, normalize_measures, take_reading

_CALL_IDS = frozenset(CALL_IDS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_DURATION_NS = 10**18


class Features:
    """What spans of one request have in common that differ only in their ids, times and numbers.

    Texts that are decoded once for many spans are numbered by their identity, so that they are compared once.
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._by_identity: dict[tuple[int, int], int] = {}

    def of(self, record: Record) -> Hashable:
        """Return the features of a span. The record must exist as long as this object."""
        attributes = record.attributes
        texts, tags = attributes.texts, attributes.tags
        identity = (id(texts), id(tags))
        number = self._by_identity.get(identity)
        if number is None:
            content = (tuple(texts.items()), tuple(tags) if tags else None)
            number = self._by_identity[identity] = self._numbers.setdefault(content, len(self._numbers))
        return (
            number,
            id(record.resource),
            record.scope,
            record.name,
            record.kind,
            record.is_error,
            *attributes.values,
        )


@lru_cache(maxsize=1024)
def _sums_reader(counts: tuple[str, ...], service: str, model: str, source: str) -> SumsReader | None:
    """Return the reader of usage that has nothing but these whole numbers."""
    return sums_reader(dict.fromkeys(counts, 0), service=service, model=model, source=source)


class SpanPattern(Struct, frozen=True, gc=False):
    """The event of a span, and the names of the attributes in which similar spans differ: counts and ids."""

    event: UsageEventInput
    counts: tuple[str, ...]
    sums: SumsReader
    ids: tuple[str, ...]

    @classmethod
    def of(cls, record: Record, event: UsageEventInput, usage: dict[str, object]) -> "SpanPattern | None":
        """Return the pattern of a span whose event is valid; None if its numbers are more than ids and sums of
        tokens."""
        values = record.attributes.values
        if not usage.items() <= values.items() or not _CALL_IDS.issuperset(values.keys() - usage.keys()):
            return None
        if any(type(count) is not int for count in usage.values()):
            return None
        sums = _sums_reader(tuple(usage), event.service or "", event.model or "", event.source or "")
        if sums is None:
            return None
        return cls(event, tuple(usage), sums, tuple(name for name in CALL_IDS if name in values))

    def ids_of(self, record: Record) -> list[str]:
        """Return the provider's ids of the call."""
        values = record.attributes.values
        ids = [values[name] for name in self.ids]
        return ids if len(ids) <= 1 else list(dict.fromkeys(ids))

    def event_of(
        self, record: Record, ids: Sequence[str], now: datetime
    ) -> tuple[UsageEventInput, UsageReading] | None:
        """Return the event of a similar span, and its usage; None if that is no sum of tokens. Raises
        InvalidEventError."""
        values = record.attributes.values
        counts = [values[name] for name in self.counts]
        reading = self.sums.read(counts)
        if reading is None:
            return None
        if reading.flags:
            reading = with_raw(reading, dict(zip(self.counts, counts, strict=True)))
        event = copy.copy(self.event)
        event.id = span_event_id(record)
        if "run_id" not in record.attributes.texts and "run_id" not in record.resource.texts:
            event.run_id = record.trace_id
        event.request_id = ids[0] if ids else None
        event.occurred_at = instant(record.end or record.start)
        event.duration_ms = duration(record)
        normalize_measures(event, now)
        take_reading(event, reading)
        return event, reading


def span_event_id(record: Record) -> str:
    return f"{record.trace_id}:{record.span_id}"


def instant(nanoseconds: int) -> datetime | None:
    """Return a time in nanoseconds since 1970; None for 0, which means that it is unknown. Raises InvalidEventError."""
    if not nanoseconds:
        return None
    seconds, rest = divmod(nanoseconds, 10**9)
    try:
        return _EPOCH + timedelta(0, seconds, rest // 1000)
    except OverflowError as error:
        raise InvalidEventError("endTimeUnixNano", "invalid", "The time is not in nanoseconds since 1970.") from error


def duration(record: Record) -> Decimal | None:
    """Return how long a call took, in milliseconds: from its times, else as it says."""
    if record.start and 0 <= record.end - record.start <= _MAX_DURATION_NS:
        return Decimal(record.end - record.start) / 1_000_000
    stated = record.attributes.values.get("duration_ms")
    is_number = isinstance(stated, int | float) and not isinstance(stated, bool) and 0 <= stated <= 10**12
    return Decimal(repr(stated)) if is_number else None
