"""Parser of `POST /usage/events`: one event, an array, `{"events": [...]}`, or one event per line. Pure."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from billing.ingest.json_records import (
    NDJSON_TYPES,
    check_amounts,
    split_records,
    to_record_error,
    unusual_amounts,
    without_bom,
)
from billing.ingest.types import ParsedBatch, ParsedEvent, TooMany, UsageEventInput
from billing.ingest.validate import InvalidEventError, normalize, refuse_nul, usage_hash
from costtrack.event_files.types import TRANSCRIPTS
from costtrack.money import DECIMALS, MAX_AMOUNT_USD, is_storable


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    events: list[UsageEventInput]


_event = msgspec.json.Decoder(UsageEventInput)
_events = msgspec.json.Decoder(list[UsageEventInput])
_envelope = msgspec.json.Decoder(_Envelope)

# An event is a large object, so a body of more elements than this could hold is split before it is decoded.
_MAX_COMMAS_AT_ONCE = 200_000

# A count that is written as a fraction, such as `12.0`, which pandas does with whole numbers.
_WHOLE_COUNT = re.compile(rb'("\w+_tokens"\s*:\s*)(\d+)\.0+(?=\s*[,}])')


def parse(body: bytes, *, content_type: str, max_events: int, now: datetime) -> ParsedBatch:
    """Parse a body. Raises Malformed if it is not JSON of a known shape, TooMany beyond `max_events`."""
    body = without_bom(body)
    events = _all_at_once(body, content_type)
    if events is not None:
        if len(events) > max_events:
            raise TooMany(max_events)
        return _normalized(events, (), now, has_nul=b"\\u0000" in body)
    records = split_records(body, content_type=content_type, max_records=max_events)
    return _normalized(_decoded(records), records, now, has_nul=any(b"\\u0000" in bytes(record) for record in records))


def _normalized(
    events: Iterable[UsageEventInput | Exception],
    records: Sequence[msgspec.Raw | bytes],
    now: datetime,
    *,
    has_nul: bool,
) -> ParsedBatch:
    batch = ParsedBatch(events=[], errors=[])
    for index, event in enumerate(events):
        if not isinstance(event, UsageEventInput):
            batch.errors.append(to_record_error(index, bytes(records[index]), event))
            continue
        try:
            if has_nul:
                refuse_nul(event)
            _refuse_rounding(event)
            reading = normalize(event, now)
        except InvalidEventError as error:
            batch.errors.append(error.at(index, event.id))
        else:
            copied = usage_hash(event) if event.source in TRANSCRIPTS else None
            batch.events.append(ParsedEvent(index, event, reading, payload_hash=copied))
    return batch


def _refuse_rounding(event: UsageEventInput) -> None:
    for field in ("cost_usd", "compute_cost_usd"):
        amount: Decimal | None = getattr(event, field)
        if amount is not None and amount.is_finite() and amount <= MAX_AMOUNT_USD and not is_storable(amount):
            raise InvalidEventError(field, "too_precise", f"{field} has more than {DECIMALS} decimals.")


def _all_at_once(body: bytes, content_type: str) -> list[UsageEventInput] | None:
    """Decode an array or an envelope at once, which is the usual case and by far the fastest.

    Return None if that fails; the body is then split and decoded record by record.
    """
    if content_type in NDJSON_TYPES or b"\\ud" in body or b"\\uD" in body or body.count(b",") > _MAX_COMMAS_AT_ONCE:
        return None
    if unusual_amounts(body):
        return None
    try:
        return _events.decode(body) if body.lstrip().startswith(b"[") else _envelope.decode(body).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _decoded(records: Sequence[msgspec.Raw | bytes]) -> Iterable[UsageEventInput | Exception]:
    """Return each record as an event or as the exception that decoding it raised. Valid records are decoded at once."""
    array = b"[" + b",".join(map(bytes, records)) + b"]"
    if unusual_amounts(array):
        return map(_decode_record, records)
    try:
        events = _events.decode(array)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return map(_decode_record, records)
    # A line that holds two events separated by a comma is one bad record, not two good ones.
    return events if len(events) == len(records) else map(_decode_record, records)


def _decode_record(record: msgspec.Raw | bytes) -> UsageEventInput | Exception:
    record = bytes(record)
    try:
        check_amounts(record)
        return _event.decode(_WHOLE_COUNT.sub(rb"\1\2", record) if b".0" in record else record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return error
