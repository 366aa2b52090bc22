"""Validation and normalization of events beyond their types. Pure: no Django, no database."""

import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec

from billing.ingest.types import RecordError, UsageEventInput
from billing.ingest.usage.quantities import InvalidQuantityError, parse_quantities
from billing.ingest.usage.types import UnreadableReason, UsageReading
from billing.ingest.usage.usage_reader import read_usage
from billing.pricing.kinds import TOKEN_COUNTS, quantities_as_json, to_columns
from costtrack.money import MAX_AMOUNT_USD, to_storable
from costtrack.names import clean_name

MAX_METADATA_BYTES = 4096
MAX_TAGS = 50
MAX_METADATA_DEPTH = 32  # readers may recurse once per level
FUTURE_TOLERANCE = timedelta(hours=1)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_DURATION_MS = Decimal(10) ** 12

# The total that includes each partial count.
_TOTAL_OF_PART = {
    "cache_creation_1h_tokens": "cache_creation_tokens",
    "reasoning_tokens": "output_tokens",
    "audio_input_tokens": "input_tokens",
    "audio_output_tokens": "output_tokens",
}
_counts_of_parts = attrgetter(*_TOTAL_OF_PART)
_NAMES = (
    *("endpoint", "capability", "service", "cost_group", "service_tier", "region", "tool"),
    *("run_id", "parent_run_id", "workflow_id", "execution_id", "phase_id", "workspace_id", "session_id"),
    *("group_id", "group_name", "agent_id", "agent_name", "user_id", "end_user", "team"),
)
_names_of = attrgetter(*_NAMES)


_encode = msgspec.json.Encoder().encode
# Slower; only needed for objects, whose keys have no defined order.
_encode_in_order = msgspec.json.Encoder(order="deterministic").encode


class InvalidEventError(Exception):
    """One field of one event is invalid."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.message = message

    def at(self, index: int, event_id: str | None, *, time: str = "occurred_at") -> RecordError:
        """Return the error of the record at `index`. `time` is the name of `occurred_at` in the sender's format."""
        is_of_time = self.field == "occurred_at"
        field = time if is_of_time else self.field
        message = self.message.replace("occurred_at", time, 1) if is_of_time else self.message
        return RecordError(index=index, id=event_id, field=field, code=self.code, message=message)


def normalize(event: UsageEventInput, now: datetime, *, reading: UsageReading | None = None) -> UsageReading | None:
    """Validate the event and bring it in place into a canonical form, so that equal events compare equal.

    Times are converted to UTC and costs to the ledger's precision, duplicate tags are removed, and a usage object or
    quantities are replaced by counts; what they say is returned. A `reading` has been taken already. An object that
    cannot be read is no error, because the usage has happened. Raises InvalidEventError.
    """
    normalize_measures(event, now)
    _clean_names(event)
    if reading is None and (event.usage is not None or event.quantities is not None):
        reading = _read(event)
    if reading is None and any(_counts_of_parts(event)):
        reading = _contradiction(event)
    if event.tags:
        event.tags = list(dict.fromkeys(filter(None, map(clean_name, event.tags))))[:MAX_TAGS] or None
    if event.metadata is not None:
        _check_metadata(event.metadata)
    _check_kind(event)
    return reading


def normalize_measures(event: UsageEventInput, now: datetime) -> None:
    """Normalize what differs between events with the same names: the time, the duration and the costs. Raises
    InvalidEventError."""
    if event.occurred_at is not None:
        event.occurred_at = _time(event.occurred_at, now)
    _normalize_amounts(event)


def _check_kind(event: UsageEventInput) -> None:
    """Check fields that need others, or another kind."""
    if event.requests is not None and event.kind not in (None, "model_call"):
        raise InvalidEventError("requests", "not_allowed", "requests is allowed only in a model_call.")
    if event.parent_run_id and not event.run_id:
        raise InvalidEventError("parent_run_id", "missing_run", "parent_run_id requires a run_id.")
    if event.kind == "session_summary":
        if not event.session_id:
            raise InvalidEventError("session_id", "required", "A session_summary requires a session_id.")
    elif event.turns is not None or event.tool_calls is not None:
        field = "turns" if event.turns is not None else "tool_calls"
        raise InvalidEventError(field, "not_allowed", f"{field} is allowed only in a session_summary.")


def take_reading(event: UsageEventInput, reading: UsageReading) -> None:
    """Replace the usage of an event by the counts that were read, and keep the quantities that have no count.

    An object that cannot be read is kept instead, so that events with different ones are not the same.
    """
    event.usage = dict(reading.raw) if reading.reason is not None and reading.raw else None
    event.quantities = None
    if reading.reason is None:
        counts, others = to_columns(reading.quantities)
        # In the order of `TOKEN_COUNTS`. A loop over the names takes twice as long.
        (
            event.input_tokens,
            event.output_tokens,
            event.cache_read_tokens,
            event.cache_creation_tokens,
            event.cache_creation_1h_tokens,
            event.reasoning_tokens,
            event.audio_input_tokens,
            event.audio_output_tokens,
        ) = counts.values()
        event.quantities = quantities_as_json(others) if others else None


def payload_hash(event: UsageEventInput) -> int:
    """Return a signed 64-bit digest of all fields of the event."""
    has_objects = event.metadata is not None or event.usage is not None or event.quantities is not None
    encode = _encode_in_order if has_objects else _encode
    digest = hashlib.blake2b(encode(event), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def usage_hash(event: UsageEventInput) -> int:
    """Return the digest of the model and the usage alone, for records that are copied under another session."""
    counts = {field: getattr(event, field) for field in TOKEN_COUNTS}
    return payload_hash(UsageEventInput(model=event.model, usage=event.usage, quantities=event.quantities, **counts))


def nests_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested in more than that many levels."""
    if not isinstance(value, list | dict):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(nests_deeper(item, levels - 1) for item in items)


def _check_metadata(metadata: dict[str, Any]) -> None:
    encoded = _encode(metadata)
    if len(encoded) > MAX_METADATA_BYTES:
        raise InvalidEventError("metadata", "too_large", f"metadata is larger than {MAX_METADATA_BYTES} bytes.")
    may_be_deep = encoded.count(b"{") + encoded.count(b"[") > MAX_METADATA_DEPTH
    if may_be_deep and nests_deeper(metadata, MAX_METADATA_DEPTH):
        raise InvalidEventError("metadata", "too_deep", f"metadata is nested in more than {MAX_METADATA_DEPTH} levels.")


def refuse_nul(event: UsageEventInput) -> None:
    """Raise InvalidEventError for a NUL character, which PostgreSQL's text cannot hold.

    `billing.ingest.json_records` has replaced unpaired surrogates by NUL. Slow, so only called for bodies with a NUL.
    """
    for field in event.__struct_fields__:
        value = getattr(event, field)
        if value is None or isinstance(value, (int, Decimal, datetime)):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if "\0" in text or "\\u0000" in text:
            raise InvalidEventError(
                field, "invalid_text", f"{field} contains a NUL character or an unpaired surrogate."
            )


def _contradiction(event: UsageEventInput) -> UsageReading | None:
    """Return what is stored instead of counts of which a part exceeds its total; None if they are consistent. Totals of
    a session are no usage by themselves, so they are refused."""
    for part, total in _TOTAL_OF_PART.items():
        if (getattr(event, part) or 0) <= (getattr(event, total) or 0):
            continue
        message = f"{part} is part of {total} and exceeds it."
        if event.kind == "session_summary":
            raise InvalidEventError(part, "part_exceeds_whole", message)
        counts = {field: count for field in TOKEN_COUNTS if (count := getattr(event, field)) is not None}
        reading = UsageReading(reason=UnreadableReason.CONTRADICTION, detail=message, raw={"counts": counts})
        for field in TOKEN_COUNTS:
            setattr(event, field, None)
        take_reading(event, reading)
        return reading
    return None


def _clean_names(event: UsageEventInput) -> None:
    """Bring names into the form in which they are compared. A blank name is no name. (The model is also stored as sent,
    so it is identified later.)"""
    for field, text in zip(_NAMES, _names_of(event), strict=True):
        # Most names are clean, which is known faster than by `clean_name`.
        if text and (not text.isascii() or text.strip() != text):
            setattr(event, field, clean_name(text) or None)
    if event.model and not clean_name(event.model):
        event.model = None


def _time(occurred_at: datetime, now: datetime) -> datetime:
    if occurred_at > now + FUTURE_TOLERANCE:
        raise InvalidEventError("occurred_at", "in_the_future", "occurred_at is more than one hour in the future.")
    if occurred_at < EARLIEST:
        raise InvalidEventError("occurred_at", "too_early", f"occurred_at is before {EARLIEST.year}.")
    return occurred_at if occurred_at.tzinfo is UTC else occurred_at.astimezone(UTC)


def _normalize_amounts(event: UsageEventInput) -> None:
    for field in ("cost_usd", "compute_cost_usd"):
        amount: Decimal | None = getattr(event, field)
        if amount is not None:
            if not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT_USD:
                raise InvalidEventError(field, "out_of_range", f"{field} is not an amount from 0 to {MAX_AMOUNT_USD}.")
            setattr(event, field, to_storable(amount))
    if event.duration_ms is not None:
        if not event.duration_ms.is_finite() or not 0 <= event.duration_ms <= _MAX_DURATION_MS:
            raise InvalidEventError("duration_ms", "out_of_range", "duration_ms is not a duration in milliseconds.")
        event.duration_ms = round(event.duration_ms, 3).normalize()
    if event.kind in ("tool_call", "compute") and event.cost_usd is not None and event.compute_cost_usd is not None:
        message = f"Give cost_usd or compute_cost_usd of a {event.kind}, not both."
        raise InvalidEventError("cost_usd", "ambiguous", message)


def _read(event: UsageEventInput) -> UsageReading | None:
    given = "usage" if event.usage is not None else "quantities"
    if event.usage is not None and event.quantities is not None:
        raise InvalidEventError("usage", "ambiguous", "Give usage or quantities, not both.")
    for field in TOKEN_COUNTS:
        if getattr(event, field) is not None:
            raise InvalidEventError(given, "ambiguous", f"Give {given} or {field}, not both.")
    if not event.usage and not event.quantities:
        event.usage = event.quantities = None
        return None
    reading = _read_usage(event, event.usage) if event.usage else _of_quantities(event.quantities or {})
    take_reading(event, reading)
    return reading


def _read_usage(event: UsageEventInput, usage: dict[str, Any]) -> UsageReading:
    return read_usage(usage, service=event.service or "", model=event.model or "", source=event.source or "")


def _of_quantities(raw: dict[str, Any]) -> UsageReading:
    try:
        quantities = parse_quantities(raw)
    except InvalidQuantityError as error:
        field = f"quantities.{error.kind[:100]}"
        raise InvalidEventError(field, "invalid", f"{field}: {error}") from error
    return UsageReading(quantities, (quantities,))
