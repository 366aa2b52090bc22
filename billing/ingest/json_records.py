"""Splitting of JSON bodies into records, and error descriptions. Shared by the JSON formats; pure: bytes in, bytes out.

`split_records` is strict: the body must be JSON. `split_tolerantly` splits it so that one bad record does not affect
the others. LiteLLM encodes with Python's `json` module, which writes values that are not JSON: NaN and Infinity (in log
probabilities), and unpaired surrogates (text that was cut inside an emoji). A strict parser rejects the entire body for
one of them.
"""

import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from billing.ingest.types import Malformed, RecordError, TooMany
from costtrack.money import is_amount

NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")

_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

_ENVELOPE = "events"
_LINE = re.compile(rb"[^\n]+")
_UNKNOWN_FIELD = re.compile(r"unknown field `([^`]*)`")
_PATH = re.compile(r" - at `\$\.?([^`]*)`$")


_NOT_FINITE = ("NaN", "Infinity", "-Infinity")  # which are out of range
_AMOUNT_TEXT = re.compile(rb'"(cost_usd|compute_cost_usd|estimated_cost_usd|duration_ms)"\s*:\s*"((?:[^"\\]|\\.)*)"')

# A string (closed or not), or a structural character of JSON. Possessive quantifiers keep matching linear.
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?+|[\[\]{},]', re.DOTALL)

# Events have far fewer commas than this on average. The elements of a body with more are counted before it is split.
_COMMAS_PER_RECORD = 64


def split_records(body: bytes, *, content_type: str, max_records: int) -> Sequence[msgspec.Raw | bytes]:
    """Return the records of an array, of an object whose only member is `events`, of newline-delimited JSON, or of a
    single object. Raises Malformed if the body is none of these, TooMany beyond `max_records`."""
    stripped = _without_half_pairs(without_bom(body).strip())
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


def without_bom(body: bytes) -> bytes:
    """Return the body without the byte order mark with which programs on Windows begin a file."""
    return body.removeprefix(BOM_UTF8)


def unusual_amounts(record: bytes) -> set[str]:
    """Return the amounts of a JSON object that are texts but not numbers as `costtrack.money` has them, such as `1_0`.
    msgspec accepts all of Python's syntax. Finds more than that if the object has others inside."""
    found = ((name.decode(), text.decode(errors="replace")) for name, text in _AMOUNT_TEXT.findall(record))
    return {name for name, text in found if not is_amount(text) and text not in _NOT_FINITE}


def check_amounts(record: bytes) -> None:
    """Raise a ValidationError for an amount that is a text but not a number."""
    unusual = unusual_amounts(record)
    members = _raw_object.decode(record) if unusual else {}
    for name in unusual & members.keys():
        value = msgspec.json.decode(members[name])
        if isinstance(value, str) and not is_amount(value) and value not in _NOT_FINITE:
            raise msgspec.ValidationError(f"Expected a number - at `$.{name}`")


def split_array(
    array: bytes, max_records: int, what: str = "events", *, where: str = "A request"
) -> Sequence[msgspec.Raw]:
    """Return the elements of a JSON array. Raises TooMany before a hostile body is decoded into millions of objects,
    and msgspec's errors if it is not an array."""
    if array.count(b",") > _COMMAS_PER_RECORD * max_records and _has_more_elements(array, max_records):
        raise TooMany(max_records, what, where=where)
    records = _raw_list.decode(array)
    if len(records) > max_records:
        raise TooMany(max_records, what, where=where)
    return records


def _has_more_elements(array: bytes, limit: int) -> bool:
    return next(islice(element_ends(array), limit, None), None) is not None


def element_ends(array: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the token that ends each element of an array: the commas, then the closing bracket.

    Only brackets and commas are examined, so the elements themselves may be invalid JSON.
    """
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
    """Return the lines that are not blank. Raises TooMany as soon as there are more than `max_records`."""
    lines: list[bytes] = []
    for match in _LINE.finditer(body):
        if match[0].strip():
            lines.append(match[0])
            if len(lines) > max_records:
                raise TooMany(max_records)
    return lines


# An escape sequence: a surrogate pair, half of one, or any other.
_ESCAPE = re.compile(rb"\\(?:(u[dD][89abAB]..\\u[dD][c-fC-F]..)|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


def _without_half_pairs(body: bytes) -> bytes:
    """Replace unpaired surrogates by NUL, so that text cut inside an emoji does not make the body unreadable.

    `refuse_nul` rejects the NUL in the fields that are stored.
    """
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    return _ESCAPE.sub(lambda match: b"\\u0000" if match[2] else match[0], body)


def to_record_error(index: int, record: bytes, fault: Exception) -> RecordError:
    """Describe a decoding error: the record (by its id if that can be read), the field, and the reason."""
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
    path_match = _PATH.search(message)
    field = path_match[1] if path_match else None
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
        raise Malformed(f"Unknown field next to {_ENVELOPE}: {unknown[0]}.")
    try:
        return split_array(bytes(members[_ENVELOPE]), max_records)
    except msgspec.ValidationError as error:
        raise Malformed(f"{_ENVELOPE} is not an array.") from error


def record_id(record: bytes) -> str | None:
    """Return the id of a record, or None if it cannot be read."""
    try:
        raw_id = _raw_object.decode(record).get("id")
        return msgspec.json.decode(raw_id, type=str) if raw_id is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


_raw = msgspec.json.Decoder(msgspec.Raw)


def split_tolerantly(body: bytes, *, content_type: str, max_records: int) -> Sequence[msgspec.Raw | bytes]:
    """Return the records of an array, of newline-delimited JSON, or of a single object (or null). A record may be
    unreadable. Raises Malformed if nothing in the body is JSON, TooMany beyond `max_records`."""
    stripped = without_bom(body).strip()
    if not stripped:
        raise Malformed("The body is empty.")
    records = _split(stripped, content_type, max_records)
    if records and not any(map(_is_json, records)):
        raise Malformed("The body is not valid JSON.")
    return records


def repair_json(record: bytes) -> bytes:
    """Return the record as strict JSON: null for NaN and Infinity, `?` for unpaired surrogates. Raises ValueError or
    RecursionError if it is not JSON."""
    text = record.decode(errors="replace")
    value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _split(body: bytes, content_type: str, max_records: int) -> Sequence[msgspec.Raw | bytes]:
    if body.startswith(b"["):
        try:
            return split_array(body, max_records)
        except (ValueError, RecursionError):
            return _elements(body, max_records)
    lines = split_lines(body, max_records)
    if content_type in NDJSON_TYPES:
        return lines
    # LiteLLM also sends lines as application/json; null stands for a call that it could not describe.
    if all(line.lstrip().startswith((b"{", b"null")) for line in lines):
        return lines
    if body.startswith(b"{"):
        return [body]
    raise Malformed("The body is not a JSON array or object.")


def _elements(array: bytes, max_records: int) -> list[bytes]:
    """Return the elements of an array, split by brackets and commas alone."""
    elements: list[bytes] = []
    start, is_closed = 1, False
    for end in element_ends(array):
        elements.append(array[start : end.start()].strip())
        start, is_closed = end.end(), end[0] != b","
        if len(elements) > max_records:
            raise TooMany(max_records)
    if not is_closed or array[start:].strip():
        raise Malformed("The array is incomplete, or other content follows it.")
    if not all(elements):
        raise Malformed("The array has an extra comma.")
    return elements


def _is_json(record: msgspec.Raw | bytes) -> bool:
    """Whether the record can be parsed. A record that is nested too deeply counts as JSON."""
    try:
        _raw.decode(record)
    except ValueError:
        try:
            repair_json(bytes(record))
        except ValueError:
            return False
        except RecursionError:
            return True
    except RecursionError:
        return True
    return True
