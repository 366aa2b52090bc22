"""Types of the file readers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

# Sources of events that a reader derives from another program's records. Their ids come from the content.
CLAUDE_CODE = "claude-code"
CODEX = "codex"
SPEND_LOGS = "litellm-spend-logs"
OPENAI_USAGE = "openai-usage"
ANTHROPIC_USAGE = "anthropic-usage"

TRANSCRIPTS = (CLAUDE_CODE, CODEX)
"""Sources whose files copy the history of a resumed or forked session under another session."""

FILE_SOURCES = (CLAUDE_CODE, CODEX, SPEND_LOGS, OPENAI_USAGE, ANTHROPIC_USAGE)


class FileError(Exception):
    """The file cannot be read. The message is a sentence without its name: `is not UTF-8 text`."""


class RowError(Exception):
    """A row or line cannot be converted; `field` is the column or field that is wrong."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class FileFormat(StrEnum):
    """What a file contains."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    CLAUDE_CODE = "claude_code"
    CODEX = "codex"
    SPEND_LOGS = "spend_logs"
    OPENAI_USAGE = "openai_usage"
    ANTHROPIC_USAGE = "anthropic_usage"

    @property
    def label(self) -> str:
        return _LABELS[self]

    @property
    def is_transcript(self) -> bool:
        return self in (FileFormat.CLAUDE_CODE, FileFormat.CODEX)

    @property
    def is_aggregate(self) -> bool:
        """Each record is the sum of several requests."""
        return self in (FileFormat.OPENAI_USAGE, FileFormat.ANTHROPIC_USAGE)

    @property
    def has_columns(self) -> bool:
        """Columns are mapped to the fields of events."""
        return self in (FileFormat.CSV, FileFormat.PARQUET)


_LABELS = {
    FileFormat.JSON: "JSON events",
    FileFormat.CSV: "CSV",
    FileFormat.PARQUET: "Parquet",
    FileFormat.CLAUDE_CODE: "Claude Code transcripts",
    FileFormat.CODEX: "Codex transcripts",
    FileFormat.SPEND_LOGS: "LiteLLM spend logs",
    FileFormat.OPENAI_USAGE: "OpenAI usage export",
    FileFormat.ANTHROPIC_USAGE: "Anthropic usage export",
}


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a file.

    `columns` maps columns to fields of events, beside those that are recognized; an empty field ignores the column.
    `defaults` are fields that every record gets if it has none. Buckets of usage exports that end after `now` are not
    complete and are refused.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class Record:
    """The JSON of one event without line breaks, and its location: `line 17` or `events[16]`. A record with a `fault`
    has no event."""

    location: str
    json: bytes = b""
    fault: str = ""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table or one object of a list, and its location."""

    location: str
    values: Mapping[str, Any]


def to_record(location: str, event: Mapping[str, Any]) -> Record:
    """Return an event without its empty fields."""
    known = {name: value for name, value in event.items() if value not in (None, "", [], {})}
    return Record(location, json.dumps(known, ensure_ascii=False, default=_as_json).encode(errors="replace"))


def _as_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 10**15 else str(value)
    if isinstance(value, datetime):
        return iso(value)
    return str(value)


def iso(at: datetime) -> str:
    """Return a time in UTC; one without a zone is in UTC."""
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return utc.isoformat().replace("+00:00", "Z")


def stable_id(*parts: object) -> str:
    """Return an id that is the same whenever the same record is read."""
    text = "\0".join("" if part is None else str(part) for part in parts)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def generated_id_prefix(digest: str) -> str:
    """Return the beginning of the ids of records without one, which are the same whenever this content is read."""
    return f"file-{digest[:32]}-"


def with_id(record: Record, generated_id: str) -> Record:
    """Add an id to a record without one, so that repetitions are recognized. Raises ValueError if it is not JSON."""
    try:
        event = json.loads(record.json)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(event, dict) or event.get("id") not in (None, ""):
        return record  # the server rejects what is not an event
    comma = b"," if event else b""
    return Record(record.location, record.json.removesuffix(b"}") + comma + f'"id":"{generated_id}"}}'.encode())
