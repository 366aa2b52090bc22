"""The telemetry of each sender becomes the right events: only calls of models, each with its cost."""

import json
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from billing.ingest import otlp
from billing.ingest.otlp import json_encoding, protobuf
from billing.ingest.services import IngestResult, ingest
from billing.models import UsageEvent
from billing.rollups.fold import fold
from organizations.models import Organization
from tests.otlp import as_json, log, logs, span, traces
from tests.usage import NOW, send_events, set_price, total_cost

FOLDER = Path(__file__).parent / "fixtures" / "otlp"
SENDERS = sorted(path.stem for path in FOLDER.glob("*.json"))
ENCODINGS = ("protobuf", "json")


@pytest.fixture(autouse=True)
def _prices(db: None) -> None:
    set_price(
        "claude-sonnet-4-5",
        provider="anthropic",
        input="3",
        output="15",
        cache_read="0.3",
        cache_creation="3.75",
        cache_creation_1h="6",
    )
    set_price("claude-haiku-4-5", provider="anthropic", input="1", output="5", cache_read="0.1", cache_creation="1.25")
    set_price("claude-opus-4-6", provider="anthropic", input="5", output="25")
    set_price("gpt-5.4", provider="openai", input="2.5", output="15", cache_read="0.25")
    set_price("gpt-4o", provider="openai", input="2.5", output="10", cache_read="1.25")
    set_price("text-embedding-3-small", provider="openai", input="0.02")
    set_price("gemini-2.5-pro", provider="google", input="1.25", output="10", cache_read="0.125")


def sender(name: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return described


def request(described: dict[str, Any], trace: int = 1) -> Any:
    """The export request that a fixture describes."""
    resource, scope, records = described["resource"], described["scope"], described["records"]
    if described["signal"] == "logs":
        items = [
            log(record["attributes"], at=NOW, event_name=record.get("name", ""), body=record.get("body", ""))
            for record in records
        ]
        return logs(items, resource=resource, scope=scope)
    spans = [
        span(
            record["attributes"],
            name=record["name"],
            kind=record["kind"],
            at=NOW,
            trace=trace,
            number=record["number"],
            parent=record.get("parent"),
        )
        for record in records
    ]
    return traces(spans, resource=resource, scope=scope)


def store(organization: Organization, described: dict[str, Any], encoding: str = "protobuf") -> IngestResult:
    exported = request(described)
    signal = "spans" if described["signal"] == "traces" else "logs"
    if encoding == "protobuf":
        records = getattr(protobuf, signal)(exported.SerializeToString(), max_records=1000)
    else:
        records = getattr(json_encoding, signal)(json.dumps(as_json(exported)).encode(), max_records=1000)
    parsed = otlp.to_events(records, now=NOW)
    assert not parsed.errors
    return ingest(organization=organization, credential=None, format="otlp", parsed=parsed, now=NOW)


def _event(event: UsageEvent, names: Any) -> dict[str, Any]:
    values = {
        "model": event.model_as_sent,
        "cost_usd": None if event.token_cost_usd is None else format(event.token_cost_usd.normalize(), "f"),
    }
    return {name: values[name] if name in values else getattr(event, name) for name in names}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", SENDERS)
def test_the_calls_of_a_sender_are_its_events(organization: Organization, name: str, encoding: str) -> None:
    described = sender(name)
    result = store(organization, described, encoding)
    expected = described["events"]
    assert (result.accepted, result.rejected, result.conflicts) == (len(expected), 0, 0)
    events = list(UsageEvent.objects.order_by("id"))
    assert [_event(event, fields) for event, fields in zip(events, expected, strict=True)] == expected
    assert "secret" not in repr(UsageEvent.objects.values())
    assert [flag["code"] for event in events for flag in event.flags or ()] in ([], ["two_readings"])
    again = store(organization, described, encoding)
    assert (again.accepted, again.duplicates, again.conflicts) == (0, len(expected), 0)


@pytest.mark.parametrize("order", list(permutations(["claude_platform", "claude_sdk", "json"])))
def test_client_and_server_spans_of_a_call_are_one_event(organization: Organization, order: tuple[str, ...]) -> None:
    for name in order:
        if name == "json":
            _send_json(organization)
        else:
            store(organization, sender(name))
    fold(now=NOW)
    calls = UsageEvent.objects.filter(kind="model_call")
    assert calls.count() == 2
    # The server's span has the lifetimes of the cache, the client's the session.
    assert total_cost(UsageEvent.objects.all()) == Decimal("0.018") + Decimal("1.1275")
    by_session = UsageEvent.objects.filter(session_id="s-9")
    assert total_cost(by_session) == Decimal("0.018")


def _send_json(organization: Organization) -> None:
    usage = {"input_tokens": 1000, "cache_read_input_tokens": 8000, "cache_creation_input_tokens": 1000}
    event = {"id": "msg_01Platform000001", "service": "anthropic", "model": "claude-sonnet-4-5"}
    send_events(organization, {**event, "usage": {**usage, "output_tokens": 500}})


def test_logs_and_spans_of_claude_code_are_the_same_calls(organization: Organization) -> None:
    for name in ("claude_code", "claude_code_spans", "claude_code"):
        store(organization, sender(name))
    assert UsageEvent.objects.filter(kind="model_call").count() == 2
    assert total_cost(UsageEvent.objects.all()) == Decimal("0.030786")
