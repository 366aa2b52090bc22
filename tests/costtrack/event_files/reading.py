"""Files in memory, and their records as Python objects."""

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from costtrack.event_files import EventFile, FileFormat, ReadOptions

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def lines(*objects: Any) -> bytes:
    return b"\n".join(json.dumps(item).encode() for item in objects)


def read(
    content: bytes | str, columns: Mapping[str, str] | None = None
) -> tuple[FileFormat, list[dict[str, Any]], list[str]]:
    """Return the format of a file, its events, and the faults of its other records with their locations."""
    raw = content.encode() if isinstance(content, str) else content
    file = EventFile(io.BytesIO(raw), ReadOptions(columns=columns or {}, now=NOW))
    records = list(file.records())
    events = [json.loads(record.json) for record in records if not record.fault]
    return file.format, events, [f"{record.location}: {record.fault}" for record in records if record.fault]


def usages(events: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [event.get("usage") for event in events]
