"""LiteLLM payloads for tests: recorded ones, also with changes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from billing.ingest import litellm
from billing.ingest.types import ParsedEvent, RecordError, UsageEventInput

_FOLDER = Path(__file__).parent / "fixtures" / "litellm"

PROMPT, ANSWER = "What is a neutral question?", "This is a neutral answer."

NOW = datetime(2026, 1, 1, tzinfo=UTC)

NAMES = sorted(path.stem for path in _FOLDER.glob("*.json"))


def payload(name: str = "openai_chat", **changes: Any) -> dict[str, Any]:
    """A recorded payload, with some of its fields changed."""
    recorded: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text())
    return {**recorded, **changes}


def with_metadata(name: str = "openai_chat", **changes: Any) -> dict[str, Any]:
    """A recorded payload, with some fields of its metadata changed."""
    recorded = payload(name)
    return {**recorded, "metadata": {**recorded["metadata"], **changes}}


def all_payloads() -> list[dict[str, Any]]:
    return [payload(name) for name in NAMES]


def with_usage(prompt_tokens: int, **usage: Any) -> dict[str, Any]:
    """A recorded payload with another usage object and 5 output tokens."""
    return {**with_metadata(usage_object=usage), "prompt_tokens": prompt_tokens, "completion_tokens": 5}


def parse_one(record: dict[str, Any] | bytes) -> UsageEventInput | RecordError:
    raw = record if isinstance(record, bytes) else json.dumps(record).encode()
    batch = litellm.parse([raw], now=NOW)
    results: list[UsageEventInput | RecordError] = [*(parsed.event for parsed in batch.events), *batch.errors]
    assert len(results) == 1
    return results[0]


def parsed_one(record: dict[str, Any]) -> ParsedEvent:
    (parsed,) = litellm.parse([json.dumps(record).encode()], now=NOW).events
    return parsed


def event_of(record: dict[str, Any] | bytes) -> UsageEventInput:
    event = parse_one(record)
    assert isinstance(event, UsageEventInput), event
    return event


def fault_of(record: dict[str, Any] | bytes) -> RecordError:
    fault = parse_one(record)
    assert isinstance(fault, RecordError), fault
    return fault
