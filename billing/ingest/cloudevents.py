"""CloudEvents 1.0 over HTTP: structured, binary and batch (docs/cloudevents.md). Pure: bytes in, events out."""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import msgspec

from billing.ingest.json_records import split_array, to_record_error
from billing.ingest.litellm.payload import short_text
from billing.ingest.types import Malformed, ParsedBatch, ParsedEvent
from billing.ingest.usage.raw import raw_object
from billing.ingest.usage.usage_reader import without_known_caches
from billing.ingest.usage_fields import convert, event_fields
from billing.ingest.validate import InvalidEventError, normalize, refuse_nul

FORMAT = "cloudevents"
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
MAX_SOURCE_LENGTH = 64
# The sources of other formats, whose event ids are others.
_RESERVED_SOURCES = frozenset({"api", "costs", "costtrack", "lago", "langfuse", "litellm", "otlp"})
_REQUIRED = ("id", "source", "type")
# The source of LiteLLM's callback for OpenMeter, whose counts do not say what was cached. Its cost does.
_LITELLM = "litellm-proxy"
_HEADER_PREFIX = "ce-"
# What the quarantine stores of an event besides its data.
_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype")


def split(body: bytes, *, content_type: str, headers: Mapping[str, str], max_records: int) -> list[bytes]:
    """Return the events of a body as JSON objects. Raises Malformed, TooMany."""
    names = {name.lower(): value for name, value in headers.items()}
    if f"{_HEADER_PREFIX}specversion" in names and content_type not in (STRUCTURED, BATCH):
        return [_of_headers(body, content_type, names)]
    stripped = body.strip()
    try:
        if content_type == BATCH or (content_type != STRUCTURED and stripped.startswith(b"[")):
            return [bytes(record) for record in split_array(stripped, max_records)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("The body is not an array of CloudEvents.") from error
    if not stripped.startswith(b"{"):
        raise Malformed("The body is not a CloudEvent.")
    return [stripped]


def _of_headers(body: bytes, content_type: str, headers: Mapping[str, str]) -> bytes:
    """Return an event whose attributes are headers and whose data is the body."""
    attributes = {
        name.removeprefix(_HEADER_PREFIX): unquote(value)
        for name, value in headers.items()
        if name.startswith(_HEADER_PREFIX)
    }
    if content_type:
        attributes["datacontenttype"] = content_type
    encoded = msgspec.json.encode(attributes)
    data = body.strip()
    if not data:
        return encoded
    try:
        return msgspec.json.encode({**attributes, "data": _json_decoder.decode(data)})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("The body is not JSON.") from error


_json_decoder = msgspec.json.Decoder()


def parse(records: Sequence[msgspec.Raw | bytes], *, now: datetime, requires_subject: bool = False) -> ParsedBatch:
    """Convert events. Invalid ones are errors."""
    batch = ParsedBatch(events=[], errors=[])
    for index, record in enumerate(map(bytes, records)):
        try:
            attributes = _object.decode(record)
            parsed = _parsed_event(index, attributes, requires_subject=requires_subject)
            refuse_nul(parsed.event)
            reading = normalize(parsed.event, now)
            if reading is not None and parsed.is_gateway_cost and attributes["source"] == _LITELLM:
                reading = without_known_caches(reading)
        except InvalidEventError as error:
            batch.errors.append(error.at(index, _id(record), time=_name_of_time(attributes)))
        except (ValueError, RecursionError) as error:
            batch.errors.append(to_record_error(index, record, error))
        else:
            batch.events.append(msgspec.structs.replace(parsed, reading=reading))
    return batch


def without_prompts(record: bytes) -> bytes:
    """Return an event with the fields that are read and no others; empty if it is not a readable object."""
    try:
        attributes = _object.decode(record)
        fields, cost = event_fields(_data(attributes))
    except (ValueError, RecursionError, InvalidEventError):
        return b""
    if "usage" in fields and isinstance(fields["usage"], dict):
        fields["usage"] = raw_object(fields["usage"])[0]
    fields.pop("metadata", None)
    stored = {name: attributes[name] for name in _ATTRIBUTES if isinstance(attributes.get(name), str)}
    data = {name: value for name, value in fields.items() if name == "usage" or not isinstance(value, dict)}
    return msgspec.json.encode({**stored, "data": {**data, **({} if cost is None else {"cost": cost})}})


_object = msgspec.json.Decoder(dict[str, Any])


def _id(record: bytes) -> str | None:
    try:
        value = _object.decode(record).get("id")
    except (ValueError, RecursionError):
        return None
    return value[:255] if isinstance(value, str) else None


def _name_of_time(attributes: Mapping[str, Any]) -> str:
    data = attributes.get("data")
    is_in_data = isinstance(data, dict) and "occurred_at" in data
    return "occurred_at" if is_in_data or attributes.get("time") is None else "time"


def _parsed_event(index: int, attributes: dict[str, Any], *, requires_subject: bool) -> ParsedEvent:
    if attributes.get("specversion") != "1.0":
        raise InvalidEventError("specversion", "invalid", 'specversion must be "1.0".')
    for name in (*_REQUIRED, *(("subject",) if requires_subject else ())):
        if not isinstance(attributes.get(name), str) or not attributes[name]:
            raise InvalidEventError(name, "required", f"{name} is required and must be a text.")
    fields, cost = event_fields(_data(attributes))
    fields["id"] = short_text(attributes["id"])
    fields["source"] = source_name(attributes["source"])
    if attributes.get("time") is not None:
        fields.setdefault("occurred_at", attributes["time"])
    subject = attributes.get("subject")
    if isinstance(subject, str) and subject:
        fields.setdefault("user_id", subject[:255])
    is_gateway_cost = cost is not None and "cost_usd" not in fields
    if is_gateway_cost:
        fields["cost_usd"] = cost
    return ParsedEvent(index, convert(fields), is_gateway_cost=is_gateway_cost)


def source_name(source: str) -> str:
    """Return the source as the ledger stores it: its own name, not that of another format, in 64 characters."""
    name = f"cloudevents:{source}" if source in _RESERVED_SOURCES else source
    if len(name) <= MAX_SOURCE_LENGTH:
        return name
    digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return f"{name[: MAX_SOURCE_LENGTH - len(digest) - 1]}~{digest}"


def _data(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the data, which may also be JSON as text or in base64."""
    data = attributes.get("data")
    encoded = attributes.get("data_base64")
    if encoded is not None and data is not None:
        raise InvalidEventError("data", "ambiguous", "Give data or data_base64, not both.")
    if isinstance(encoded, str):
        try:
            data = _json_decoder.decode(base64.b64decode(encoded, validate=True))
        except (binascii.Error, ValueError, RecursionError) as error:
            raise InvalidEventError("data_base64", "invalid", "data_base64 is not JSON in base64.") from error
    elif isinstance(data, str):
        try:
            data = _json_decoder.decode(data)
        except (ValueError, RecursionError) as error:
            raise InvalidEventError("data", "invalid", "data is not a JSON object.") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidEventError("data", "invalid", "data is not an object.")
    return data
