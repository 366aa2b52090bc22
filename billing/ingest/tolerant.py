"""Tolerant splitting of JSON bodies into records, so that one bad record does not affect the others.

LiteLLM encodes with Python's `json` module, which writes values that are not JSON: NaN and Infinity (in log
probabilities), and unpaired surrogates (text that was cut inside an emoji). A strict parser rejects the entire body
for one of them. Pure: bytes in, bytes out.
"""

import json
import math
from collections.abc import Sequence

import msgspec

from billing.ingest.json_records import NDJSON_TYPES, element_ends, split_array, split_lines
from billing.ingest.types import Malformed, TooMany

_raw = msgspec.json.Decoder(msgspec.Raw)


def split_tolerantly(body: bytes, *, content_type: str, max_records: int) -> Sequence[msgspec.Raw | bytes]:
    """Return the records of an array, of newline-delimited JSON, or of a single object (or null). A record may be
    unreadable. Raises Malformed if nothing in the body is JSON, TooMany beyond `max_records`."""
    stripped = body.strip()
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
            raise TooMany
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
