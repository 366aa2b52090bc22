"""Events in Lago's form. Pure: bytes in, events out.

`{"event": {"transaction_id", "external_subscription_id", "code", "timestamp", "properties"}}`
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from billing.ingest.litellm.payload import short_text
from billing.ingest.types import Malformed, ParsedBatch, ParsedEvent, RecordError, TooMany
from billing.ingest.usage_fields import convert, event_fields
from billing.ingest.validate import InvalidEventError, normalize, refuse_nul

SOURCE = "lago"
MAX_EVENTS = 100

_object = msgspec.json.Decoder(dict[str, Any])


def is_lago(body: bytes) -> bool:
    """Whether a body is Lago's: an object with a top-level `event`."""
    if b'"event"' not in body:
        return False
    try:
        return "event" in _top_level.decode(body)
    except (ValueError, RecursionError):
        return False


_top_level = msgspec.json.Decoder(dict[str, msgspec.Raw])


def split(body: bytes, *, is_batch: bool) -> list[dict[str, Any]]:
    """Return the events of a body. Raises Malformed, TooMany beyond 100."""
    name = "events" if is_batch else "event"
    try:
        value = _object.decode(body).get(name)
    except (ValueError, RecursionError) as error:
        raise Malformed("The body is not a JSON object.") from error
    events = value if is_batch else [value]
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise Malformed(f"{name} is missing or of a wrong type.")
    if len(events) > MAX_EVENTS:
        raise TooMany(MAX_EVENTS)
    return events


def parse(events: Sequence[Mapping[str, Any]], *, now: datetime) -> ParsedBatch:
    """Convert events. Invalid ones are errors."""
    batch = ParsedBatch(events=[], errors=[])
    for index, event in enumerate(events):
        event_id = short_text(event.get("transaction_id"))
        try:
            parsed = _parsed_event(index, event, event_id)
            refuse_nul(parsed.event)
            reading = normalize(parsed.event, now)
        except InvalidEventError as error:
            batch.errors.append(error.at(index, event_id, time="timestamp"))
        except msgspec.ValidationError as error:
            message = f"properties: {error}."
            batch.errors.append(
                RecordError(index=index, id=event_id, field="properties", code="invalid", message=message)
            )
        else:
            batch.events.append(msgspec.structs.replace(parsed, reading=reading))
    return batch


def _parsed_event(index: int, event: Mapping[str, Any], event_id: str | None) -> ParsedEvent:
    if event_id is None:
        raise InvalidEventError("transaction_id", "value_is_mandatory", "transaction_id is required.")
    if not event.get("code"):
        raise InvalidEventError("code", "value_is_mandatory", "code is required.")
    properties = event.get("properties") or {}
    if not isinstance(properties, dict):
        raise InvalidEventError("properties", "invalid", "properties is not an object.")
    fields, cost = event_fields(properties)
    fields |= {"id": event_id, "source": SOURCE}
    customer = short_text(event.get("external_subscription_id")) or short_text(event.get("external_customer_id"))
    if customer is not None:
        fields.setdefault("user_id", customer)
    if event.get("timestamp") is not None:
        fields["occurred_at"] = _instant(event["timestamp"])
    cents = event.get("precise_total_amount_cents")
    if cents is not None:
        fields["cost_usd"] = _decimal("precise_total_amount_cents", cents) / 100
    is_gateway_cost = cost is not None and "cost_usd" not in fields
    if is_gateway_cost:
        fields["cost_usd"] = cost
    return ParsedEvent(index, convert(fields), is_gateway_cost=is_gateway_cost)


def _instant(timestamp: Any) -> datetime | str:
    """Return a time in seconds since 1970, a number or a text, or the text of an ISO time for the decoder."""
    if isinstance(timestamp, str) and not timestamp.replace(".", "", 1).isdigit():
        return timestamp
    seconds = _decimal("timestamp", timestamp)
    try:
        return datetime.fromtimestamp(float(seconds), tz=UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise InvalidEventError("timestamp", "invalid", "timestamp is not in seconds since 1970.") from error


def _decimal(field: str, value: Any) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite():
        raise InvalidEventError(field, "invalid", f"{field} is not a number.")
    return number
