"""Splitting a JSON body into its records, and saying what is wrong with one. Shared by the JSON wire formats; pure."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from billing.ingest.types import Malformed, RecordError, TooMany

NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")

_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

_ENVELOPE = "events"
_LINE = re.compile(rb"[^\n]+")
_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]*)`")
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


# A string as a whole (closed or not), or one of the characters that give JSON its structure. Possessive, so that no
# input takes longer than its length.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+|[\[\]{},]', re.DOTALL)

# Events have far fewer commas than this on average; only a body with more is counted before it is split.
_COMMAS_PER_RECORD = 64


def split_records(body: bytes, *, content_type: str, max_records: int) -> Sequence[msgspec.Raw | bytes]:
    """The records of an array, of an object whose only member is `events`, of newline-delimited JSON, or one single
    object. Raises Malformed when the body is none of these, TooMany beyond `max_records`."""
    stripped = _without_half_pairs(body.strip())
    if not stripped:
        raise Malformed("The body is empty; send an event, an array of events, or one event per line.")
    if content_type in NDJSON_TYPES:
        return split_lines(stripped, max_records)
    try:
        if stripped.startswith(b"["):
            return split_array(stripped, max_records)
        return _from_object(stripped, max_records)
    except RecursionError as error:
        raise Malformed("The body is nested too deeply.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        lines = split_lines(stripped, max_records)
        if len(lines) > 1 and all(line.lstrip().startswith(b"{") for line in lines):
            return lines
        raise Malformed(f"The body is not valid JSON: {error}.") from error


def split_array(array: bytes, max_records: int) -> Sequence[msgspec.Raw]:
    """The elements of a JSON array. Raises TooMany before a hostile body of millions of tiny elements has become
    millions of objects; msgspec's errors when it is no array."""
    if array.count(b",") > _COMMAS_PER_RECORD * max_records and _has_more_elements(array, max_records):
        raise TooMany
    records = _raw_list.decode(array)
    if len(records) > max_records:
        raise TooMany
    return records


def _has_more_elements(array: bytes, limit: int) -> bool:
    return next(islice(element_ends(array), limit, None), None) is not None


def element_ends(array: bytes) -> Iterator[re.Match[bytes]]:
    """Where each element of an array ends: the commas between them, and at last the bracket that closes the array.
    Told by brackets and commas alone, so the elements themselves may be broken."""
    depth = 0
    for token in _STRUCTURE.finditer(array):
        character = token[0]
        if character in (b"[", b"{"):
            depth += 1
        elif character in (b"]", b"}"):
            depth -= 1
        if depth == 0:
            yield token
            return
        if character == b"," and depth == 1:
            yield token


def split_lines(body: bytes, max_records: int) -> list[bytes]:
    """The lines that are not blank. Raises TooMany as soon as there are more than `max_records`."""
    lines: list[bytes] = []
    for found in _LINE.finditer(body):
        if found[0].strip():
            lines.append(found[0])
            if len(lines) > max_records:
                raise TooMany
    return lines


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


def _from_object(body: bytes, max_records: int) -> Sequence[msgspec.Raw | bytes]:
    members = _raw_object.decode(body)
    if _ENVELOPE not in members:
        return [body]
    unknown = sorted(members.keys() - {_ENVELOPE})
    if unknown:
        raise Malformed(f"Unknown field beside {_ENVELOPE}: {unknown[0]}.")
    try:
        return split_array(bytes(members[_ENVELOPE]), max_records)
    except msgspec.ValidationError as error:
        raise Malformed(f"{_ENVELOPE} is not an array.") from error


def record_id(record: bytes) -> str | None:
    """The record's id, if that much can be read."""
    try:
        raw_id = _raw_object.decode(record).get("id")
        return msgspec.json.decode(raw_id, type=str) if raw_id is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
