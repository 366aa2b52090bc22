"""The paths of Langfuse's SDKs."""

import base64
import gzip
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.ingest.quarantine import retry
from billing.ledger.net_cost import load_adjusted_event
from billing.models import QuarantinedRecord, UnpricedEvent, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Organization, Plan
from tests.conftest import Key
from tests.otlp import PROTOBUF, span, traces
from tests.usage import set_price, total_cost

INGESTION = "/api/public/ingestion"
SECRET = "the quick brown secret"


@pytest.fixture(autouse=True)
def _prices(db: None) -> None:
    set_price("gpt-4o", provider="openai", input="2.5", output="10", cache_read="1.25")


@pytest.fixture
def sdk(key: Key) -> APIClient:
    """A client with Basic authentication, as the SDKs have it."""
    client = APIClient()
    encoded = base64.b64encode(f"{key.credential.client_id}:{key.client_secret}".encode()).decode()
    client.credentials(HTTP_AUTHORIZATION=f"Basic {encoded}")
    return client


def envelope(number: int, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"envelope-{number}", "type": kind, "timestamp": utc_now().isoformat(), "body": body}


def send(sdk: APIClient, *batch: dict[str, Any]) -> Any:
    response = sdk.post(INGESTION, {"batch": batch, "metadata": {"sdk_name": "python"}})
    assert response.status_code == 207, response.content
    return response.json()


def test_spans_are_accepted_with_the_headers_of_the_sdk(sdk: APIClient) -> None:
    attributes = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "gpt-4o",
        "langfuse.observation.usage_details": json.dumps({"input": 800, "output": 200, "cache_read_input_tokens": 200}),
        "langfuse.observation.input": SECRET,
        "user.id": "ada",
        "session.id": "s-1",
    }
    body = gzip.compress(traces([span(attributes, at=utc_now())]).SerializeToString())
    headers = {"Content-Encoding": "gzip", "x-langfuse-sdk-name": "python", "x-langfuse-ingestion-version": "4"}
    response = sdk.post("/api/public/otel/v1/traces", body, content_type=PROTOBUF, headers=headers)
    assert (response.status_code, response.content) == (200, b"")
    event = UsageEvent.objects.get()
    assert (event.token_cost_usd, event.user_ref, event.session_id) == (Decimal("0.00425"), "ada", "s-1")
    assert sdk.post("/api/public/otel/v1/metrics", b"", content_type=PROTOBUF).status_code == 200


def test_credentials_can_be_checked(sdk: APIClient, organization: Organization) -> None:
    """By every program that starts, so these requests do not count for the rate limit."""
    Plan.objects.filter(pk=organization.plan_id).update(requests_per_minute=1)
    own = {"id": organization.slug, "name": organization.name}
    for _ in range(3):
        projects = sdk.get("/api/public/projects").json()
        assert projects == {"data": [{**own, "organization": own, "metadata": {}}]}
        assert sdk.get("/api/public/health").json()["status"] == "OK"
    assert APIClient().get("/api/public/projects").status_code == 401


def test_a_generation_is_created_and_updated_in_one_request(sdk: APIClient) -> None:
    now = utc_now()
    start, end = (now - timedelta(seconds=3)).isoformat(), (now - timedelta(seconds=1)).isoformat()
    created = {"id": "g-1", "traceId": "t-1", "model": "gpt-4o", "startTime": start, "input": SECRET}
    updated = {"id": "g-1", "traceId": "t-1", "endTime": end, "output": SECRET}
    batch = (
        envelope(1, "trace-create", {"id": "t-1", "userId": "ada", "sessionId": "s-1", "tags": ["x"], "input": SECRET}),
        envelope(2, "generation-create", created),
        envelope(3, "generation-update", {**updated, "usage": {"input": 1000, "output": 200, "unit": "TOKENS"}}),
        envelope(4, "score-create", {"id": "s", "name": "good", "value": 1}),
    )
    answer = send(sdk, *batch)
    assert [success["id"] for success in answer["successes"]] == [f"envelope-{number}" for number in range(1, 5)]
    assert answer["errors"] == []
    event = UsageEvent.objects.get()
    assert (event.token_cost_usd, event.user_ref, event.session_id) == (Decimal("0.0045"), "ada", "s-1")
    assert (event.run_id, event.tags, event.duration_ms) == ("t-1", ["x"], 2000)
    assert SECRET not in repr(UsageEvent.objects.values())
    send(sdk, *batch)
    assert UsageEvent.objects.count() == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_generation_is_completed_by_a_later_request(sdk: APIClient, order: tuple[int, int]) -> None:
    events = (
        envelope(1, "generation-create", {"id": "g-1", "traceId": "t-1", "model": "gpt-4o"}),
        envelope(2, "generation-update", {"id": "g-1", "usageDetails": {"input": 1000, "output": 200}}),
    )
    for index in (*order, *order):
        assert not send(sdk, events[index])["errors"]
    event = UsageEvent.objects.get(kind="model_call")
    assert load_adjusted_event(event).cost_usd == Decimal("0.0045")
    assert load_adjusted_event(event).attributed.model == "gpt-4o"
    assert total_cost(UsageEvent.objects.all()) == Decimal("0.0045")
    assert not UnpricedEvent.objects.exists()


def test_events_that_cannot_be_read_are_named(sdk: APIClient) -> None:
    late = (utc_now() + timedelta(days=2)).isoformat()
    answer = send(
        sdk,
        envelope(1, "generation-create", {"id": "g-1", "model": "gpt-4o", "usage": {"promptTokens": 1000}}),
        {"id": "no-type"},
        envelope(3, "generation-create", {"id": "g-3", "endTime": late, "input": SECRET}),
        envelope(4, "generation-create", {"id": "g-4", "startTime": "yesterday"}),
    )
    assert [success["id"] for success in answer["successes"]] == ["envelope-1"]
    assert [error["id"] for error in answer["errors"]] == ["event 1", "envelope-3", "envelope-4"]
    record = QuarantinedRecord.objects.get(record_id="g-3")
    assert (record.format, SECRET in record.raw) == ("langfuse", False)
    assert retry(record=record, now=utc_now() + timedelta(days=3)).accepted == 1
    for body in (b"{", b"[]", b'{"batch": 5}'):
        assert sdk.post(INGESTION, body, content_type="application/json").status_code == 400


def test_costs_are_estimates(sdk: APIClient) -> None:
    usage = {"input": 10, "output": 5, "total": 15, "totalCost": 0.5}
    details = {"usageDetails": {"input": 10, "output": 5}, "costDetails": {"input": 0.1, "total": 0.25}}
    send(sdk, envelope(1, "generation-create", {"id": "a", "model": "house", "usage": usage}))
    send(sdk, envelope(2, "generation-create", {"id": "b", "model": "house", **details}))
    events = UsageEvent.objects.order_by("id")
    assert [(event.token_cost_usd, event.cost_basis) for event in events] == [
        (Decimal("0.5"), "gateway"),
        (Decimal("0.25"), "gateway"),
    ]
