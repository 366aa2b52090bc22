"""`POST /usage/events`: what is accepted, and what becomes of it."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import zstandard
from rest_framework.test import APIClient

from billing.models import EventKey, IngestBatch, Run, UnpricedEvent, UsageEvent
from costtrack.ids import batch_of
from organizations.models import Organization
from tests.conftest import Key
from tests.usage import post_raw

EVERY_FIELD: dict[str, Any] = {
    "id": "evt-1",
    "source": "gateway",
    "kind": "model_call",
    "occurred_at": "2026-11-02T10:00:00.123456+02:00",
    "duration_ms": 1234.5,
    "request_id": "req-1",
    "status": "success",
    "status_code": 200,
    "endpoint": "/v1/chat/completions",
    "capability": "chat",
    "service": "openai",
    "model": "gpt-4o",
    "cost_group": "assistants",
    "input_tokens": 100,
    "output_tokens": 50,
    "cache_read_tokens": 20,
    "cache_creation_tokens": 10,
    "cache_creation_1h_tokens": 4,
    "reasoning_tokens": 30,
    "cost_usd": "0.0123",
    "compute_cost_usd": "0.0005",
    "run_id": "run-2",
    "parent_run_id": "run-1",
    "workflow_id": "wf",
    "execution_id": "exec",
    "phase_id": "phase",
    "workspace_id": "space",
    "session_id": "session",
    "group_id": "group",
    "group_name": "Group",
    "agent_id": "agent",
    "agent_name": "Agent",
    "user_id": "user",
    "end_user": "customer",
    "tool": "search",
    "tool_use_tokens": 7,
    "tool_result_tokens": 8,
    "tags": ["env:test", "team:core", "env:test"],
    "metadata": {"nested": {"answer": 42}},
}


def test_every_documented_field_reaches_the_ledger(api: APIClient, organization: Organization, key: Key) -> None:
    response = api.post("/usage/events", EVERY_FIELD)

    assert response.status_code == 200, response.content
    event = UsageEvent.objects.get()
    assert event.organization == organization
    assert event.credential == key.credential
    assert event.occurred_at == datetime(2026, 11, 2, 8, 0, 0, 123456, tzinfo=UTC)
    assert event.duration_ms == Decimal("1234.5")
    assert (event.token_cost_usd, event.compute_cost_usd) == (Decimal("0.0123"), Decimal("0.0005"))
    assert event.cost_usd == Decimal("0.0128")
    assert event.cost_source == "reported"
    assert event.tags == ["env:test", "team:core"]
    assert event.metadata == {"nested": {"answer": 42}}
    assert event.user_ref == "user"
    elsewhere = {
        *("id", "occurred_at", "duration_ms", "cost_usd", "compute_cost_usd"),
        *("tags", "metadata", "user_id", "parent_run_id"),
    }
    for name in EVERY_FIELD.keys() - elsewhere:
        assert getattr(event, name) == EVERY_FIELD[name], name
    assert event.event_id == "evt-1"


def test_the_answer_counts_and_names_the_batch(api: APIClient) -> None:
    answer = api.post("/usage/events", [{"id": "a"}, {"id": "b"}]).json()

    batch = IngestBatch.objects.get()
    assert answer == {
        "batch_id": str(batch.id),
        "accepted": 2,
        "duplicates": 0,
        "conflicts": 0,
        "rejected": 0,
        "unpriced": 2,
        "flagged": 0,
        "errors": [],
        "warnings": [
            {"index": index, "id": event_id, "code": "no_model", "message": "The event has no model."}
            for index, event_id in enumerate("ab")
        ],
    }
    assert (batch.accepted, batch.format, batch.folded_at) == (2, "json", None)
    assert {batch_of(event.id) for event in UsageEvent.objects.all()} == {batch.id}


def test_runs_and_their_parents_become_known(api: APIClient, organization: Organization) -> None:
    api.post("/usage/events", EVERY_FIELD)

    runs = Run.objects.of(organization).order_by("run_id").values_list("run_id", "parent_run_id", "workflow_id")
    assert list(runs) == [("run-1", "", ""), ("run-2", "run-1", "wf")]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"id": "a"}', "application/json"),
        (b'[{"id": "a"}]', "application/json"),
        (b'{"events": [{"id": "a"}]}', "application/json"),
        (b'{"id": "a"}\n', "application/x-ndjson"),
        (b'[{"id": "a"}]', "text/plain; charset=utf-8"),
        (b'  \n{"id": "a"}', "application/octet-stream"),
    ],
)
def test_one_event_comes_in_any_shape(api: APIClient, body: bytes, content_type: str) -> None:
    response = post_raw(api, body, content_type)

    assert response.status_code == 200, response.content
    assert UsageEvent.objects.get().event_id == "a"


@pytest.mark.parametrize("content_type", ["application/x-ndjson", "application/json"])
def test_lines_are_events(api: APIClient, content_type: str) -> None:
    response = post_raw(api, b'{"id": "a"}\n\n{"id": "b"}\r\n{"id": "c"}', content_type)

    assert response.json()["accepted"] == 3


def test_a_bad_line_does_not_stop_the_others(api: APIClient) -> None:
    response = post_raw(api, b'{"id": "a"}\n{"id": \n{"id": "c"}', "application/x-ndjson")

    assert response.status_code == 207
    assert response.json()["accepted"] == 2
    assert response.json()["errors"][0]["index"] == 1
    assert response.json()["errors"][0]["code"] == "malformed"


def test_two_events_on_one_line_are_one_bad_record(api: APIClient) -> None:
    response = post_raw(api, b'{"id": "a"},{"id": "b"}\n{"id": "c"}', "application/x-ndjson")

    assert (response.status_code, response.json()["accepted"]) == (207, 1)
    assert UsageEvent.objects.get().event_id == "c"


def test_an_empty_array_is_fine_and_writes_nothing(api: APIClient) -> None:
    response = api.post("/usage/events", [])

    assert response.status_code == 200
    assert response.json()["batch_id"] is None
    assert not IngestBatch.objects.exists()


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_compressed_bodies_are_read(api: APIClient, compress: Callable[[bytes], bytes]) -> None:
    encoding = "gzip" if compress is gzip.compress else "zstd"
    body = compress(json.dumps([{"id": str(number)} for number in range(100)]).encode())

    response = post_raw(api, body, encoding=encoding)

    assert response.json()["accepted"] == 100


def test_an_event_almost_an_hour_ahead_of_our_clock_is_accepted(api: APIClient) -> None:
    soon = (datetime.now(tz=UTC) + timedelta(minutes=59)).isoformat()

    assert api.post("/usage/events", {"occurred_at": soon}).status_code == 200


def test_null_means_absent(api: APIClient) -> None:
    response = api.post("/usage/events", dict.fromkeys(EVERY_FIELD))

    assert response.status_code == 200
    event = UsageEvent.objects.get()
    assert (event.event_id, event.source, event.kind) == ("", "api", "model_call")
    assert not EventKey.objects.exists()


def test_the_same_event_again_is_a_duplicate(api: APIClient) -> None:
    first = api.post("/usage/events", EVERY_FIELD)
    # Said differently, it is still the same: another offset, another spelling of the number, other key order.
    again = {**dict(reversed(EVERY_FIELD.items())), "occurred_at": "2026-11-02T08:00:00.123456Z", "cost_usd": 0.01230}
    second = api.post("/usage/events", again)

    assert (first.json()["accepted"], second.status_code) == (1, 200)
    assert (second.json()["accepted"], second.json()["duplicates"]) == (0, 1)
    assert UsageEvent.objects.count() == 1


def test_the_same_id_with_other_content_is_a_conflict(api: APIClient) -> None:
    api.post("/usage/events", EVERY_FIELD)
    response = api.post("/usage/events", [{**EVERY_FIELD, "output_tokens": 51}, {"id": "new"}])

    assert response.status_code == 207
    answer = response.json()
    assert (answer["accepted"], answer["conflicts"]) == (1, 1)
    assert answer["errors"][0]["code"] == "conflict"
    assert (answer["errors"][0]["index"], answer["errors"][0]["id"]) == (0, "evt-1")
    assert UsageEvent.objects.get(event_id="evt-1").output_tokens == 50


def test_a_lone_conflict_is_422(api: APIClient) -> None:
    api.post("/usage/events", {"id": "a"})

    assert api.post("/usage/events", {"id": "a", "model": "other"}).status_code == 422


def test_repetitions_inside_one_request_are_settled_against_what_is_stored(api: APIClient) -> None:
    api.post("/usage/events", {"id": "old", "model": "m"})
    repeated = [
        {"id": "new"},
        {"id": "new"},
        {"id": "new", "model": "x"},
        {"id": "old", "model": "other"},
        {"id": "old", "model": "m"},
    ]
    answer = api.post("/usage/events", repeated).json()

    assert (answer["accepted"], answer["duplicates"], answer["conflicts"]) == (1, 2, 2)
    assert [error["index"] for error in answer["errors"]] == [2, 3]


def test_ids_belong_to_their_source_and_their_organization(api: APIClient, other_api: APIClient) -> None:
    for client, source in ((api, "one"), (api, "two"), (other_api, "one")):
        assert client.post("/usage/events", {"id": "same", "source": source}).json()["accepted"] == 1


def test_an_event_without_an_id_is_never_a_duplicate(api: APIClient) -> None:
    api.post("/usage/events", [{}, {}])

    assert api.post("/usage/events", {}).json()["accepted"] == 1
    assert UsageEvent.objects.count() == 3


def test_a_provider_usage_object_is_read_verbatim(api: APIClient) -> None:
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 5000,
        "cache_creation_input_tokens": 1000,
        "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
        "output_tokens": 20,
    }
    api.post("/usage/events", {"service": "anthropic", "model": "claude-sonnet-4-5", "usage": usage})

    event = UsageEvent.objects.get()
    assert (event.input_tokens, event.output_tokens) == (100, 20)
    assert (event.cache_read_tokens, event.cache_creation_tokens, event.cache_creation_1h_tokens) == (5000, 1000, 600)


def test_an_event_without_a_price_is_stored_and_queued(api: APIClient, organization: Organization) -> None:
    api.post("/usage/events", {"id": "a", "model": "unheard-of", "input_tokens": 10})

    event = UsageEvent.objects.get()
    assert (event.token_cost_usd, event.cost_usd, event.unpriced_reason) == (None, None, "no_price")
    assert IngestBatch.objects.get().unpriced == 1
    queued = UnpricedEvent.objects.of(organization).get()
    assert (queued.event_id, queued.model, queued.reason) == (event.id, "unheard-of", "no_price")


def test_a_cost_keeps_every_digit(api: APIClient) -> None:
    api.post("/usage/events", {"cost_usd": 7.499999999999999e-06})

    assert UsageEvent.objects.get().token_cost_usd == Decimal("0.000007499999999999999")


def test_a_plan_without_api_still_records_what_has_happened(api: APIClient, organization: Organization) -> None:
    organization.plan_id = "free"
    organization.save(update_fields=["plan"])

    assert api.post("/usage/events", {}).status_code == 200
