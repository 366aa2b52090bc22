"""Rows of a table with columns of any names as events: which column is which field, and the conversion of cells."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from costtrack.event_files.types import Record, Row, RowError, to_record
from costtrack.event_files.values import count, instant, number, text

_COUNTS = (
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "cache_creation_1h_tokens"),
    *("reasoning_tokens", "audio_input_tokens", "audio_output_tokens"),
)
_OTHER_COUNTS = ("tool_use_tokens", "tool_result_tokens", "turns", "tool_calls", "status_code", "requests")
_NUMBERS = ("cost_usd", "compute_cost_usd", "duration_ms")
_OBJECTS = ("usage", "quantities", "metadata")
_TEXTS = (
    *("id", "source", "kind", "request_id", "status", "endpoint", "capability", "service", "model", "cost_group"),
    *("service_tier", "region", "run_id", "parent_run_id", "workflow_id", "execution_id", "phase_id", "workspace_id"),
    *("session_id", "group_id", "group_name", "agent_id", "agent_name", "user_id", "end_user", "team", "tool"),
    "authorization_id",
)
FIELDS = ("occurred_at", *_TEXTS, *_COUNTS, *_OTHER_COUNTS, *_NUMBERS, "tags", *_OBJECTS)
"""The fields of an event of `POST /usage/events`."""

# Columns under a provider's names. Their cells are one usage object, because a provider's input includes cached tokens.
USAGE_FIELDS = (
    *("prompt_tokens", "completion_tokens", "cached_tokens", "cached_input_tokens", "input_cached_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "cache_write_tokens", "cache_write_input_tokens"),
    *("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "reasoning_output_tokens", "uncached_input_tokens"),
    *("input_audio_tokens", "output_audio_tokens", "prompt_token_count", "candidates_token_count"),
    *("cached_content_token_count", "thoughts_token_count"),
)

_ALIASES = {
    **dict.fromkeys(("time", "timestamp", "date", "datetime", "created_at", "start_time", "starttime"), "occurred_at"),
    "event_id": "id",
    "provider": "service",
    "vendor": "service",
    "model_name": "model",
    "response_id": "request_id",
    "project": "cost_group",
    **dict.fromkeys(("cost", "total_cost", "spend", "amount_usd"), "cost_usd"),
    "latency_ms": "duration_ms",
    **dict.fromkeys(("user", "user_email", "email"), "user_id"),
    **dict.fromkeys(("customer", "customer_id", "end_user_id"), "end_user"),
    "team_name": "team",
    "session": "session_id",
    "conversation_id": "session_id",
    "run": "run_id",
    "agent": "agent_name",
    **dict.fromkeys(("tag", "labels"), "tags"),
    "tier": "service_tier",
}
_NOT_A_LETTER = re.compile(r"[^a-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TAG_SEPARATORS = re.compile(r"[,;|]")
_METADATA = "metadata."
_MAX_METADATA_NAME = 64


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table and the field that its cells become; empty if it is ignored."""

    name: str
    field: str


def is_field(name: str) -> bool:
    """Whether a column can be mapped to this name."""
    is_metadata = name.startswith(_METADATA) and 0 < len(name) - len(_METADATA) <= _MAX_METADATA_NAME
    return name in FIELDS or name in USAGE_FIELDS or is_metadata


def map_columns(names: Iterable[str], chosen: Mapping[str, str]) -> list[Column]:
    """Return each column with its field: the chosen one, or the one that its name means. If two columns mean the same
    field, the first counts, and a chosen one before all."""
    taken = {field for field in chosen.values() if field}
    columns = []
    for name in names:
        field = chosen[name] if name in chosen else _meaning(name)
        if name not in chosen and field in taken:
            field = ""
        taken.add(field)
        columns.append(Column(name, field))
    return columns


def _meaning(name: str) -> str:
    plain = _NOT_A_LETTER.sub("_", _CAMEL.sub("_", name.strip()).lower()).strip("_")
    field = _ALIASES.get(plain, plain)
    return field if field in FIELDS or field in USAGE_FIELDS else ""


def row_event(row: Row, columns: Iterable[Column]) -> Record:
    """Convert a row to an event. Raises RowError."""
    if None in row.values:
        raise RowError("The row has more cells than the header.")
    event: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for column in columns:
        if not column.field:
            continue
        cell = row.values.get(column.name)
        if column.field.startswith(_METADATA):
            metadata[column.field.removeprefix(_METADATA)] = text(cell)
        elif column.field in USAGE_FIELDS:
            usage[column.field] = count(cell, column.name)
        else:
            event[column.field] = _convert(column, cell)
    usage = {name: value for name, value in usage.items() if value is not None}
    if usage:
        event["usage"] = {**usage, **{name: event.pop(name) for name in _COUNTS if event.get(name) is not None}}
        for name in _COUNTS:
            event.pop(name, None)
    metadata = {name: value for name, value in metadata.items() if value is not None}
    if metadata:
        event["metadata"] = {**(event.get("metadata") or {}), **metadata}
    return to_record(row.location, event)


def _convert(column: Column, cell: Any) -> Any:
    converter = _CONVERTERS.get(column.field)
    return text(cell) if converter is None else converter(cell, column.name)


def _tags(cell: Any, field: str) -> list[str] | None:
    if isinstance(cell, list | tuple):
        return [shown for tag in cell if (shown := text(tag))]
    shown = text(cell) or ""
    if shown.startswith("["):
        return _tags(_json(shown, field), field)
    return [tag.strip() for tag in _TAG_SEPARATORS.split(shown) if tag.strip()]


def _object(cell: Any, field: str) -> dict[str, Any] | None:
    if isinstance(cell, dict):
        return {str(name): value for name, value in cell.items() if value is not None}
    shown = text(cell)
    if shown is None:
        return None
    value = _json(shown, field)
    if not isinstance(value, dict):
        raise RowError("The cell is not a JSON object.", field)
    return value


def _json(shown: str, field: str) -> Any:
    try:
        return json.loads(shown)
    except (ValueError, RecursionError) as error:
        raise RowError(f"The cell is not valid JSON: {error}.", field) from error


_CONVERTERS: dict[str, Callable[[Any, str], Any]] = {
    "occurred_at": instant,
    **dict.fromkeys((*_COUNTS, *_OTHER_COUNTS), count),
    **dict.fromkeys(_NUMBERS, number),
    **dict.fromkeys(_OBJECTS, _object),
    "tags": _tags,
}
