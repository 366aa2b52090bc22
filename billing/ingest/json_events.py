"""`POST /usage/events`: one event, an array, `{"events": [...]}`, or one event per line. Pure: bytes in, events out."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from billing.ingest.types import ParsedBatch, ParsedEvent, UsageEventInput
from billing.ingest.validate import InvalidEventError, normalize, refuse_nul
from billing.ingest.wire import named_fault, split_records

_event = msgspec.json.Decoder(UsageEventInput)
_events = msgspec.json.Decoder(list[UsageEventInput])


def parse(body: bytes, *, content_type: str, max_events: int, now: datetime) -> ParsedBatch:
    """Read a body. Raises Malformed when it is not JSON of a shape we know, TooMany beyond `max_events`."""
    records = split_records(body, content_type=content_type, max_records=max_events)
    batch = ParsedBatch(events=[], errors=[])
    has_nul = any(b"\\u0000" in bytes(record) for record in records)
    for index, event in enumerate(_decoded(records)):
        if not isinstance(event, UsageEventInput):
            batch.errors.append(named_fault(index, bytes(records[index]), event))
            continue
        try:
            if has_nul:
                refuse_nul(event)
            normalize(event, now)
        except InvalidEventError as error:
            batch.errors.append(error.at(index, event.id))
        else:
            batch.events.append(ParsedEvent(index, event))
    return batch


def _decoded(records: Sequence[msgspec.Raw | bytes]) -> Iterable[UsageEventInput | Exception]:
    """Each record as an event, or what is wrong with it. All are decoded at once where all are right, which is the
    usual case and the faster one."""
    try:
        events = _events.decode(b"[" + b",".join(map(bytes, records)) + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return map(_decode_one, records)
    # A line that holds two events separated by a comma is one bad record, not two good ones.
    return events if len(events) == len(records) else map(_decode_one, records)


def _decode_one(record: msgspec.Raw | bytes) -> UsageEventInput | Exception:
    try:
        return _event.decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return error
