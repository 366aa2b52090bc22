"""JSON as other people's encoders write it, cut into records so that one bad record does not spoil the others.

Python's `json` module, which LiteLLM writes with, lets through what JSON does not know: NaN and Infinity (in log
probabilities), and halves of surrogate pairs (text that was cut inside an emoji). Strict readers refuse the whole
body for one of them. Pure: bytes in, bytes out.
"""

import json
import math
from collections.abc import Sequence

import msgspec

from billing.ingest.json_records import NDJSON_TYPES, element_ends, split_array, split_lines
from billing.ingest.types import Malformed, TooMany

_raw = msgspec.json.Decoder(msgspec.Raw)


def split_tolerantly(body: bytes, *, content_type: str, max_records: int) -> Sequence[msgspec.Raw | bytes]:
    """The records of an array, of newline-delimited JSON, or one single object (or null). A record may be bad, even
    unreadable. Raises Malformed when nothing in the body is JSON, TooMany beyond `max_records`."""
    stripped = body.strip()
    if not stripped:
        raise Malformed("The body is empty.")
    records = _split(stripped, content_type, max_records)
    if records and not any(map(_is_json, records)):
        raise Malformed("The body is not valid JSON.")
    return records


def repaired(record: bytes) -> bytes:
    """The record as JSON that every reader takes: null for numbers that are none, `?` for half characters. Raises
    ValueError or RecursionError when it is not JSON even so."""
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
    # LiteLLM sends its lines as application/json too; null stands for a call it could not describe.
    if all(line.lstrip().startswith((b"{", b"null")) for line in lines):
        return lines
    if body.startswith(b"{"):
        return [body]
    raise Malformed("The body is not a JSON array or object.")


def _elements(array: bytes, max_records: int) -> list[bytes]:
    """The elements of an array, told apart by brackets and commas alone."""
    elements: list[bytes] = []
    start, is_closed = 1, False
    for end in element_ends(array):
        elements.append(array[start : end.start()].strip())
        start, is_closed = end.end(), end[0] != b","
        if len(elements) > max_records:
            raise TooMany
    if not is_closed or array[start:].strip():
        raise Malformed("The array does not end where the body does.")
    if not all(elements):
        raise Malformed("The array has a comma too many.")
    return elements


def _is_json(record: msgspec.Raw | bytes) -> bool:
    """What is nested too deeply to be read is taken for JSON."""
    try:
        _raw.decode(record)
    except ValueError:
        try:
            repaired(bytes(record))
        except ValueError:
            return False
        except RecursionError:
            return True
    except RecursionError:
        return True
    return True
