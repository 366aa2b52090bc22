"""`POST /events`, and the paths of OpenMeter and Lago."""

import base64
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.ingest.quarantine import retry
from billing.models import IngestBatch, QuarantinedRecord, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Organization
from tests.usage import set_price, total_cost

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
V1, V3 = "/api/v1/events", "/api/v3/openmeter/events"
SECRET = "the quick brown secret"
COST = Decimal("0.0045")


@pytest.fixture(autouse=True)
def _prices(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10")
    set_price("claude-sonnet-4-5", provider="anthropic", input="3", output="15", cache_read="0.3")


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    data = {"model": "gpt-4o", "provider": "openai", "input_tokens": "1000", "output_tokens": 200}
    envelope = {"specversion": "1.0", "id": f"event-{number}", "source": "app", "type": "llm", "subject": "ada"}
    return {**envelope, "data": data, **changes}


def post(api: APIClient, path: str, body: Any, content_type: str = STRUCTURED, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return api.post(path, data, content_type=content_type, headers=headers)


def test_a_structured_event_is_stored(api: APIClient) -> None:
    time = (utc_now() - timedelta(hours=1)).isoformat()
    response = post(api, "/events", event(time=time))
    assert (response.status_code, response.json()["accepted"]) == (200, 1)
    stored = UsageEvent.objects.get()
    assert (stored.source, stored.event_id, stored.user_ref) == ("app", "event-1", "ada")
    assert (stored.service, stored.model, stored.token_cost_usd) == ("openai", "gpt-4o", COST)
    assert stored.occurred_at.isoformat() == time
    assert IngestBatch.objects.get().format == "cloudevents"
    assert post(api, "/events", event(time=time)).json()["duplicates"] == 1


def test_a_binary_event_is_stored(api: APIClient) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "a%20b", "ce-source": "app", "ce-type": "llm", "ce-subject": "ada"}
    response = post(api, "/events", event()["data"], "application/json", **headers)
    assert response.status_code == 200, response.content
    stored = UsageEvent.objects.get()
    assert (stored.event_id, stored.user_ref, stored.token_cost_usd) == ("a b", "ada", COST)


def test_a_batch_is_stored(api: APIClient) -> None:
    body = [event(1), event(2), event(3, specversion="0.3"), event(4, id="")]
    for content_type in (BATCH, "application/json"):
        response = post(api, "/events", body, content_type)
        assert response.status_code == 207
        errors = response.json()["errors"]
        assert [(error["index"], error["field"]) for error in errors] == [(2, "specversion"), (3, "id")]
    assert UsageEvent.objects.count() == 2
    assert post(api, "/events", [], BATCH).status_code == 200
    assert post(api, "/events", [event(5, type=None)], BATCH).status_code == 422


def test_usage_of_a_provider_is_read(api: APIClient) -> None:
    data = {"model": "claude-sonnet-4-5", "provider": "anthropic", "input_tokens": 1200, "run_id": "r1"}
    counts: dict[str, Any] = {"cache_read_input_tokens": "9000", "output_tokens": 310}
    usage = {"input_tokens": 1200, **{name: int(value) for name, value in counts.items()}}
    bodies = [
        event(1, data={**data, **counts}),
        event(2, data={"model": "claude-sonnet-4-5", "provider": "anthropic", "usage": usage, "user_id": "bob"}),
        event(3, data=None, data_base64=base64.b64encode(json.dumps({**data, **counts}).encode()).decode()),
        event(4, data=json.dumps({**data, **counts})),
        event(5, data={"model": "gpt-4o", "provider": "openai", "tokens": "1000", "type": "input"}),
    ]
    assert post(api, "/events", bodies, BATCH).json()["accepted"] == 5
    events = list(UsageEvent.objects.order_by("id"))
    expected = Decimal("0.0036") + Decimal("0.0027") + Decimal("0.00465")
    assert [row.token_cost_usd for row in events] == [expected] * 4 + [Decimal("0.0025")]
    assert [row.user_ref for row in events] == ["ada", "bob", "ada", "ada", "ada"]
    assert events[0].run_id == "r1"


def test_a_gateways_cost_is_an_estimate(api: APIClient) -> None:
    """As LiteLLM's openmeter callback sends it."""
    data = {"model": "house-model", "cost": 0.5, "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    body = event(id="chatcmpl-Abc123Def456", source="litellm-proxy", type="litellm_tokens", data=data)
    assert post(api, V1, body).status_code == 204
    stored = UsageEvent.objects.get()
    assert (stored.token_cost_usd, stored.cost_basis) == (Decimal("0.5"), "gateway")
    assert (stored.input_tokens, stored.output_tokens) == (10, 5)
    same = {"id": "x", "request_id": "chatcmpl-Abc123Def456", "model": "house-model", "input_tokens": 10}
    response = api.post("/usage/events", {**same, "output_tokens": 5})
    assert response.json()["duplicates"] == 1


def test_the_source_of_another_format_is_not_taken(api: APIClient) -> None:
    post(api, "/events", event(source="litellm"))
    post(api, "/events", event(2, source="https://example.com/" + "long/" * 30))
    sources = sorted(UsageEvent.objects.values_list("source", flat=True))
    assert sources[0] == "cloudevents:litellm"
    assert len(sources[1]) == 64


@pytest.mark.parametrize(("path", "status"), [(V1, 204), (V3, 202)])
def test_openmeters_paths_have_its_status_codes(api: APIClient, path: str, status: int) -> None:
    for body, content_type in ((event(1), STRUCTURED), ([event(2)], BATCH), ([event(3)], "application/json")):
        response = post(api, path, body, content_type)
        assert (response.status_code, response.content) == (status, b"")
    assert UsageEvent.objects.count() == 3
    response = post(api, path, event(4), Prefer="return=representation")
    assert (response.status_code, response.json()["accepted"]) == (200, 1)


@pytest.mark.parametrize("path", [V1, V3])
def test_openmeters_events_are_stored_all_or_none(api: APIClient, path: str) -> None:
    response = post(api, path, [event(1), event(2, subject=None)], BATCH)
    assert response.status_code == 400
    problem = response.json()
    assert (problem["status"], problem["title"]) == (400, "Bad Request")
    assert "Event 1: subject" in problem["detail"]
    assert not UsageEvent.objects.exists()
    assert post(api, path, event(1)).status_code in (202, 204)
    assert post(api, path, event(1, data={"model": "gpt-4o", "prompt": SECRET, "input_tokens": 5})).content == b""
    record = QuarantinedRecord.objects.get()
    assert (record.code, SECRET in record.raw) == ("conflict", False)
    assert retry(record=record, now=utc_now()).conflicts == 1


def lago(transaction_id: str, **changes: Any) -> dict[str, Any]:
    properties = {"model": "gpt-4o", "provider": "openai", "prompt_tokens": "1000", "completion_tokens": 200}
    base = {"transaction_id": transaction_id, "external_subscription_id": "customer-1", "code": "tokens"}
    return {**base, "properties": properties, **changes}


def test_an_event_of_lago_is_stored_at_the_same_path(api: APIClient) -> None:
    moment = utc_now() - timedelta(minutes=1)
    response = post(api, V1, {"event": lago("t-1", timestamp=str(moment.timestamp()))}, "application/json")
    assert response.status_code == 200
    assert response.json()["event"]["transaction_id"] == "t-1"
    assert "properties" not in response.json()["event"]
    stored = UsageEvent.objects.get()
    assert (stored.source, stored.user_ref, stored.token_cost_usd) == ("lago", "customer-1", COST)
    assert abs(stored.occurred_at - moment) < timedelta(milliseconds=1)
    again = post(api, V1, {"event": lago("t-1")}, "application/json")
    assert (again.status_code, again.json()["code"]) == (422, "validation_errors")
    assert again.json()["error_details"] == {"transaction_id": ["value_already_exist"]}


def test_a_batch_of_lago_is_stored_all_or_none(api: APIClient) -> None:
    path = f"{V1}/batch"
    bad = {"events": [lago("a"), lago("b", code=""), lago("a")]}
    response = post(api, path, bad, "application/json")
    assert response.status_code == 422
    assert response.json()["error_details"] == {
        "1": {"code": ["value_is_mandatory"]},
        "2": {"transaction_id": ["value_already_exist"]},
    }
    assert not UsageEvent.objects.exists()
    good = {"events": [lago("a"), lago("b", precise_total_amount_cents="123.45")]}
    assert post(api, path, good, "application/json").status_code == 200
    assert total_cost(UsageEvent.objects.all()) == COST + Decimal("1.2345")
    many = {"events": [lago(str(number)) for number in range(101)]}
    response = post(api, path, many, "application/json")
    assert (response.status_code, "up to 100 events" in response.content.decode()) == (413, True)


def test_a_time_in_the_future_is_named_as_each_format_names_it(api: APIClient) -> None:
    response = post(api, "/events", event(1, time="2999-01-01T00:00:00Z"), STRUCTURED)
    assert response.json()["errors"][0]["field"] == "time"
    response = post(api, V1, {"event": lago("a", timestamp=32_503_680_000)}, "application/json")
    assert response.status_code == 422
    assert "timestamp" in response.json()["error_details"]


def test_bodies_that_are_none_are_refused(api: APIClient) -> None:
    for path in ("/events", V1, V3, f"{V1}/batch"):
        for body in (b"", b"5", b"{", b'"a"', b"[1,", b"[" * 100_000, b"\xff"):
            assert post(api, path, body, BATCH).status_code == 400, (path, body[:10])
    wrong = [event(1, data=[1]), event(2, data={"input_tokens": "many"}), event(3, data={"occurred_at": "yesterday"})]
    response = post(api, "/events", [*wrong, 5, event(6, data={"metadata": "text"})], BATCH)
    assert (response.status_code, response.json()["rejected"]) == (422, 5)


def test_content_is_never_stored(api: APIClient, organization: Organization) -> None:
    content = {"prompt": SECRET, "messages": [{"content": SECRET}], "completion_text": SECRET, "input": SECRET}
    data = {**event()["data"], **content, "response": {"text": SECRET}, "usage_note": SECRET}
    for path in ("/events", V1):
        post(api, path, event(1, data=data))
        post(api, path, event(1, data={**data, "input_tokens": 7}))
    post(api, V1, {"event": lago("t", properties={**lago("t")["properties"], **content})}, "application/json")
    rows = [*UsageEvent.objects.values(), *QuarantinedRecord.objects.values()]
    assert len(rows) == 3
    assert SECRET not in repr(rows)


def test_litellms_own_cost_counts_in_its_openmeter_callback(api: APIClient) -> None:
    """It counts caches as plain input."""
    data = {"model": "gpt-4o", "prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200, "cost": 0.003}
    for number, source in enumerate(("litellm-proxy", "my-app")):
        post(api, "/api/v1/events", event(number, source=source, data=data))
    costs = dict(UsageEvent.objects.values_list("source", "token_cost_usd"))
    assert costs == {"litellm-proxy": Decimal("0.003"), "my-app": Decimal("0.0045")}
