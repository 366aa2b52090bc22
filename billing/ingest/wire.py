"""Splitting a JSON body into its records, and saying what is wrong with one. Shared by the JSON wire formats; pure."""

import re
from collections.abc import Sequence

import msgspec

from billing.ingest.types import Malformed, RecordError, TooMany

NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")

_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]*)`")
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


def split_records(
    body: bytes, *, content_type: str, max_records: int, envelope: str | None = None
) -> Sequence[msgspec.Raw | bytes]:
    """The records of an array, of an object whose only member is `envelope`, of newline-delimited JSON, or one
    single object. Raises Malformed when the body is none of these, TooMany beyond `max_records`."""
    records = _split(body, content_type, envelope)
    if len(records) > max_records:
        raise TooMany
    return records


def _split(body: bytes, content_type: str, envelope: str | None) -> Sequence[msgspec.Raw | bytes]:
    stripped = _without_half_pairs(body.strip())
    if not stripped:
        raise Malformed("The body is empty; send an event, an array of events, or one event per line.")
    if content_type in NDJSON_TYPES:
        return _lines(stripped)
    try:
        if stripped.startswith(b"["):
            return _raw_list.decode(stripped)
        return _from_object(stripped, envelope)
    except RecursionError as error:
        raise Malformed("The body is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        lines = _lines(stripped)
        if len(lines) > 1 and all(line.lstrip().startswith(b"{") for line in lines):
            return lines
        raise Malformed(f"The body is not valid JSON: {error}.") from error


# An escape sequence: a whole surrogate pair, half of one, or any other.
_ESCAPE = re.compile(rb"\\(?:(u[dD][89abAB]..\\u[dD][c-fC-F]..)|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def _without_half_pairs(body: bytes) -> bytes:
    """Text that was cut inside an emoji holds half a surrogate pair, which makes the whole body unreadable although
    it mostly stands in prompts that nobody reads. It becomes a NUL, which `refuse_nul` finds where it matters."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    return _ESCAPE.sub(lambda found: b"\\u0000" if found[2] else found[0], body)


def named_fault(index: int, record: bytes, fault: Exception) -> RecordError:
    """Which record it is (by its id if that can be read), which field, and what is wrong with it."""
    event_id = record_id(record)
    if isinstance(fault, RecursionError):
        return RecordError(index=index, id=event_id, code="malformed", message="The record is nested too deeply.")
    message = str(fault)
    if not isinstance(fault, msgspec.ValidationError):
        return RecordError(index=index, id=event_id, code="malformed", message=f"Not valid JSON: {message}.")
    unknown = _UNKNOWN_FIELD.search(message)
    if unknown:
        name = unknown[1]
        return RecordError(index=index, id=event_id, field=name, code="unknown_field", message=f"Unknown field {name}.")
    place = _PATH.search(message)
    field = place[1] if place else None
    text = _PATH.sub("", message).replace("`", "")
    return RecordError(
        index=index, id=event_id, field=field, code="invalid", message=f"{field}: {text}." if field else f"{text}."
    )


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.split(b"\n") if line.strip()]


def _from_object(body: bytes, envelope: str | None) -> Sequence[msgspec.Raw | bytes]:
    members = _raw_object.decode(body)
    if envelope is None or envelope not in members:
        return [body]
    unknown = sorted(members.keys() - {envelope})
    if unknown:
        raise Malformed(f"Unknown field beside {envelope}: {unknown[0]}.")
    try:
        return _raw_list.decode(members[envelope])
    except msgspec.ValidationError as error:
        raise Malformed(f"{envelope} is not an array.") from error


def record_id(record: bytes) -> str | None:
    """The record's id, if that much can be read."""
    try:
        raw_id = _raw_object.decode(record).get("id")
        return msgspec.json.decode(raw_id, type=str) if raw_id is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
