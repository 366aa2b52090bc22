"""What a type alone cannot say about an event. Pure: no Django, no database."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec

from billing.ingest.provider_usage import UnreadableUsageError, token_counts
from billing.ingest.types import RecordError, UsageEventInput
from billing.pricing.types import TOKEN_COUNTS
from costtrack.money import LARGEST, to_storable

MAX_METADATA_BYTES = 4096
MAX_METADATA_DEPTH = 32  # whoever reads it again may do so one call per level
FUTURE_TOLERANCE = timedelta(hours=1)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_MAX_DURATION_MS = Decimal(10) ** 12

# A part is counted inside its whole.
_WHOLE_OF = {
    "cache_creation_1h_tokens": "cache_creation_tokens",
    "reasoning_tokens": "output_tokens",
    "audio_input_tokens": "input_tokens",
    "audio_output_tokens": "output_tokens",
}
_counts_of_parts = attrgetter(*_WHOLE_OF)


class InvalidEventError(Exception):
    """One field of one event is wrong."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.code = code
        self.message = message

    def at(self, index: int, event_id: str | None) -> RecordError:
        """The answer's line about it."""
        return RecordError(index=index, id=event_id, field=self.field, code=self.code, message=self.message)


def normalize(event: UsageEventInput, now: datetime) -> None:
    """Bring the event into the form in which equal events are equal, in place: times in UTC, costs as the ledger
    stores them, tags once each, counts instead of a provider's usage object. Raises InvalidEventError."""
    if event.occurred_at is not None:
        event.occurred_at = _time(event.occurred_at, now)
    _normalize_amounts(event)
    if event.usage is not None:
        _take_provider_usage(event)
    if any(_counts_of_parts(event)):
        _check_parts(event)
    if event.tags:
        event.tags = list(dict.fromkeys(event.tags))
    if event.metadata is not None:
        _check_metadata(event.metadata)
    if event.parent_run_id and not event.run_id:
        raise InvalidEventError("parent_run_id", "missing_run", "parent_run_id needs a run_id beside it.")
    if event.kind == "session_summary":
        if not event.session_id:
            raise InvalidEventError("session_id", "required", "A session_summary names its session_id.")
    elif event.turns is not None or event.tool_calls is not None:
        field = "turns" if event.turns is not None else "tool_calls"
        raise InvalidEventError(field, "not_allowed", f"Only a session_summary tells {field}; others are counted.")


def nests_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects stand in each other on more than that many levels."""
    if not isinstance(value, list | dict):
        return False
    parts = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(nests_deeper(part, levels - 1) for part in parts)


def _check_metadata(metadata: dict[str, Any]) -> None:
    if len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        raise InvalidEventError("metadata", "too_large", f"metadata is larger than {MAX_METADATA_BYTES} bytes.")
    if nests_deeper(metadata, MAX_METADATA_DEPTH):
        raise InvalidEventError("metadata", "too_deep", f"metadata is nested in more than {MAX_METADATA_DEPTH} levels.")


def refuse_nul(event: UsageEventInput) -> None:
    """PostgreSQL text cannot hold a NUL character (nor half a surrogate pair, which `billing.ingest.json_records` has
    turned into one). Slow, so only for bodies that have one somewhere."""
    for field in event.__struct_fields__:
        value = getattr(event, field)
        if value is None or isinstance(value, (int, Decimal, datetime)):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if "\0" in text or "\\u0000" in text:
            raise InvalidEventError(
                field, "invalid_text", f"{field} contains a NUL character or half a surrogate pair."
            )


def _check_parts(event: UsageEventInput) -> None:
    for part, whole in _WHOLE_OF.items():
        if (getattr(event, part) or 0) > (getattr(event, whole) or 0):
            raise InvalidEventError(part, "part_exceeds_whole", f"{part} is counted inside {whole} and exceeds it.")


def _time(occurred_at: datetime, now: datetime) -> datetime:
    if occurred_at > now + FUTURE_TOLERANCE:
        raise InvalidEventError("occurred_at", "in_the_future", "occurred_at is more than one hour in the future.")
    if occurred_at < EARLIEST:
        raise InvalidEventError("occurred_at", "too_early", f"occurred_at is before {EARLIEST.year}.")
    return occurred_at.astimezone(UTC)


def _normalize_amounts(event: UsageEventInput) -> None:
    for field in ("cost_usd", "compute_cost_usd"):
        amount: Decimal | None = getattr(event, field)
        if amount is not None:
            if not amount.is_finite() or not 0 <= amount <= LARGEST:
                raise InvalidEventError(field, "out_of_range", f"{field} is not an amount from 0 to {LARGEST}.")
            setattr(event, field, to_storable(amount))
    if event.duration_ms is not None:
        if not event.duration_ms.is_finite() or not 0 <= event.duration_ms <= _MAX_DURATION_MS:
            raise InvalidEventError("duration_ms", "out_of_range", "duration_ms is not a duration in milliseconds.")
        event.duration_ms = round(event.duration_ms, 3).normalize()
    if event.kind in ("tool_call", "compute") and event.cost_usd is not None and event.compute_cost_usd is not None:
        message = f"What a {event.kind} costs is its compute cost: give cost_usd or compute_cost_usd, not both."
        raise InvalidEventError("cost_usd", "ambiguous", message)


def _take_provider_usage(event: UsageEventInput) -> None:
    for field in TOKEN_COUNTS:
        if getattr(event, field) is not None:
            raise InvalidEventError("usage", "ambiguous", f"Give usage or {field}, not both.")
    try:
        counts = token_counts(event.usage or {})
    except UnreadableUsageError as error:
        raise InvalidEventError("usage", "unreadable", f"usage cannot be read: {error}.") from error
    for field, count in counts.items():
        setattr(event, field, count)
    event.usage = None
