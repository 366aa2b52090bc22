"""`POST /usage/events`: what is refused, and how it is said."""

import gzip
from typing import Any

import pytest
import zstandard
from django.test import override_settings
from rest_framework.test import APIClient

from billing.models import UsageEvent
from organizations.models import Organization
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import post_raw


@pytest.mark.parametrize(
    ("body", "encoding", "status", "code"),
    [
        (b"not gzip", "gzip", 400, "unreadable_body"),
        (gzip.compress(b"[{}]")[:-9], "gzip", 400, "unreadable_body"),
        (b"not zstd", "zstd", 400, "unreadable_body"),
        (b"[]", "br", 415, "unsupported_encoding"),
        (gzip.compress(b" " * 3000), "gzip", 413, "too_large"),
        (zstandard.compress(b" " * 3000), "zstd", 413, "too_large"),
        (b" " * 3000, "identity", 413, "too_large"),
    ],
    ids=["no gzip", "cut gzip", "no zstd", "unknown", "gzip bomb", "zstd bomb", "plain"],
)
def test_a_body_that_is_too_large_or_unreadable_is_refused(
    api: APIClient, body: bytes, encoding: str, status: int, code: str
) -> None:
    with override_settings(INTAKE_MAX_BYTES=2048):
        response = post_raw(api, body, encoding=encoding)

    assert (response.status_code, response.json()["code"]) == (status, code)


def test_a_body_beyond_the_upload_limit_is_refused_before_it_is_read(api: APIClient) -> None:
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000):
        response = post_raw(api, b" " * 1001)

    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_more_events_than_allowed_are_refused_as_a_whole(api: APIClient) -> None:
    with override_settings(INTAKE_MAX_EVENTS=2):
        response = api.post("/usage/events", [{}, {}, {}])

    assert (response.status_code, response.json()["code"]) == (413, "too_many_events")
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(
    "body",
    [b"[" + b"0," * 1_000_000 + b"0]", b'{"events": [' + b"[[]]," * 500_000 + b"0]}", b"{}\n" * 20_000],
    ids=["array", "envelope", "lines"],
)
@pytest.mark.parametrize("url", ["/usage/events", "/integrations/litellm"])
def test_a_flood_of_tiny_records_is_refused_before_it_is_taken_apart(api: APIClient, url: str, body: bytes) -> None:
    response = api.post(url, data=body, content_type="application/json")

    # For LiteLLM's door an object with an array in it is one record, and a bad one.
    assert response.status_code in (400, 413) or response.json()["rejected"] == 1
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"nonsense", b"[{]", b'"text"', b"42", b'{"events": 1}', b"[" * 5000, b"\xff\xfe", b"null"]
)
def test_a_body_that_is_no_json_of_an_event_is_refused(api: APIClient, body: bytes) -> None:
    response = post_raw(api, body)

    assert response.status_code in (400, 422), response.content
    assert set(response.json()) >= {"error", "code"} or response.json()["errors"]
    assert not UsageEvent.objects.exists()


def test_a_field_beside_the_envelope_is_named(api: APIClient) -> None:
    response = api.post("/usage/events", {"events": [], "event": {}})

    assert response.status_code == 400
    assert "event" in response.json()["error"]


LONG = "x" * 256
BAD_FIELDS = [
    ({"color": "red"}, "color", "unknown_field"),
    ({"id": LONG}, "id", "invalid"),
    ({"id": 7}, "id", "invalid"),
    ({"source": ""}, "source", "invalid"),
    ({"source": "x" * 65}, "source", "invalid"),
    ({"kind": "adjustment"}, "kind", "invalid"),
    ({"kind": "wish"}, "kind", "invalid"),
    ({"status": "maybe"}, "status", "invalid"),
    ({"status_code": 1000}, "status_code", "invalid"),
    ({"status_code": "200"}, "status_code", "invalid"),
    ({"occurred_at": "2026-11-02T10:00:00"}, "occurred_at", "invalid"),
    ({"occurred_at": "yesterday"}, "occurred_at", "invalid"),
    ({"occurred_at": 1_700_000_000}, "occurred_at", "invalid"),
    ({"occurred_at": "1999-12-31T23:59:59Z"}, "occurred_at", "too_early"),
    ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at", "too_early"),
    ({"occurred_at": "9999-12-31T23:59:59Z"}, "occurred_at", "in_the_future"),
    ({"duration_ms": -1}, "duration_ms", "out_of_range"),
    ({"duration_ms": "NaN"}, "duration_ms", "out_of_range"),
    ({"duration_ms": 1e300}, "duration_ms", "out_of_range"),
    ({"input_tokens": -1}, "input_tokens", "invalid"),
    ({"input_tokens": 1.5}, "input_tokens", "invalid"),
    ({"input_tokens": "10"}, "input_tokens", "invalid"),
    ({"input_tokens": 10**13}, "input_tokens", "invalid"),
    (
        {"kind": "session_summary", "session_id": "s", "output_tokens": 10, "reasoning_tokens": 11},
        "reasoning_tokens",
        "part_exceeds_whole",
    ),
    ({"cost_usd": "-0.01"}, "cost_usd", "out_of_range"),
    ({"cost_usd": "NaN"}, "cost_usd", "out_of_range"),
    ({"cost_usd": "Infinity"}, "cost_usd", "out_of_range"),
    ({"cost_usd": "1e30"}, "cost_usd", "out_of_range"),
    ({"cost_usd": "1e999999999"}, "cost_usd", "out_of_range"),
    ({"cost_usd": "a lot"}, "cost_usd", "invalid"),
    ({"cost_usd": True}, "cost_usd", "invalid"),
    ({"compute_cost_usd": -1}, "compute_cost_usd", "out_of_range"),
    ({"kind": "tool_call", "cost_usd": 1, "compute_cost_usd": 1}, "cost_usd", "ambiguous"),
    ({"kind": "session_summary"}, "session_id", "required"),
    ({"parent_run_id": "p"}, "parent_run_id", "missing_run"),
    ({"run_id": LONG}, "run_id", "invalid"),
    ({"model": "a\0b"}, "model", "invalid_text"),
    ({"tags": ["a\0b"]}, "tags", "invalid_text"),
    ({"metadata": {"a": "\0"}}, "metadata", "invalid_text"),
    ({"tags": ["t"] * 1001}, "tags", "invalid"),
    *(({"cost_usd": text}, "cost_usd", "invalid") for text in ("1_0", " 1 ", "\uff11", "+1", "1e", "0x1", "1,5", "")),
    ({"cost_usd": "1e-400"}, "cost_usd", "too_precise"),
    ({"cost_usd": "1E-999999999"}, "cost_usd", "too_precise"),
    ({"compute_cost_usd": "0.1234567890123456789012345"}, "compute_cost_usd", "too_precise"),
    ({"tags": [LONG]}, "tags[0]", "invalid"),
    ({"tags": "one"}, "tags", "invalid"),
    ({"metadata": ["list"]}, "metadata", "invalid"),
    ({"metadata": {"text": "x" * 4096}}, "metadata", "too_large"),
    ({"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "input_tokens": 1}, "usage", "ambiguous"),
    ({"usage": {"prompt_tokens": 1, "completion_tokens": 1}, "quantities": {"input": 1}}, "usage", "ambiguous"),
    ({"quantities": {"input": 1}, "output_tokens": 1}, "quantities", "ambiguous"),
    ({"quantities": {"wishes": 3}}, "quantities.wishes", "invalid"),
    ({"quantities": {"input": 1.5}}, "quantities.input", "invalid"),
    ({"quantities": {"input": -1}}, "quantities.input", "invalid"),
    ({"service_tier": LONG}, "service_tier", "invalid"),
]

UNREADABLE = [
    {"prompt_tokens": -5, "completion_tokens": 1},
    {"prompt_tokens": "many", "completion_tokens": 1},
    {"prompt_tokens": 1, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 2}},
    {"hello": 1},
]


@pytest.mark.parametrize("usage", UNREADABLE, ids=lambda value: str(value)[:40])
def test_usage_that_cannot_be_read_is_stored_without_a_cost(api: APIClient, usage: dict[str, Any]) -> None:
    answer = api.post("/usage/events", [{"id": "odd", "service": "openai", "model": "gpt-4o", "usage": usage}])

    assert answer.status_code == 200
    body = answer.json()
    assert (body["accepted"], body["unpriced"]) == (1, 1)
    warning = body["warnings"][0]
    assert (warning["index"], warning["id"], warning["code"]) == (0, "odd", "unreadable_usage")
    event = UsageEvent.objects.get()
    assert (event.cost_usd, event.unpriced_reason, event.cost_basis) == (None, "unreadable_usage", "unknown")
    assert event.usage_raw is not None


@pytest.mark.parametrize(
    ("counts", "detail"),
    [
        ({"input_tokens": 5, "output_tokens": 10, "reasoning_tokens": 11}, "reasoning_tokens is part of output_tokens"),
        ({"cache_creation_1h_tokens": 1}, "cache_creation_1h_tokens is part of cache_creation_tokens"),
        ({"input_tokens": 1, "audio_input_tokens": 2}, "audio_input_tokens is part of input_tokens"),
    ],
)
def test_counts_that_contradict_each_other_are_stored_without_a_cost(
    api: APIClient, counts: dict[str, int], detail: str
) -> None:
    event = {"id": "odd", "service": "openai", "model": "gpt-4o", **counts}
    answer = api.post("/usage/events", [event]).json()

    assert (answer["accepted"], answer["rejected"], answer["unpriced"]) == (1, 0, 1)
    assert (answer["warnings"][0]["code"], detail in answer["warnings"][0]["message"]) == ("unreadable_usage", True)
    stored = UsageEvent.objects.get()
    assert (stored.cost_usd, stored.unpriced_reason, stored.input_tokens) == (None, "unreadable_usage", 0)
    assert stored.usage_raw == {"counts": counts}
    assert api.post("/usage/events", [event]).json()["duplicates"] == 1
    other = {**event, next(iter(counts)): 0}
    assert api.post("/usage/events", [other]).json()["conflicts"] == 1


def test_empty_usage_is_none(api: APIClient) -> None:
    answer = api.post("/usage/events", [{"service": "openai", "model": "gpt-4o", "usage": {}}])

    assert [warning["code"] for warning in answer.json()["warnings"]] == ["no_usage"]


@pytest.mark.parametrize(("event", "field", "code"), BAD_FIELDS, ids=lambda value: str(value)[:40])
def test_a_bad_field_is_named_and_the_good_neighbor_is_stored(
    api: APIClient, event: dict[str, Any], field: str, code: str
) -> None:
    response = api.post("/usage/events", [{"id": "good"}, {"id": "bad", **event}])

    assert response.status_code == 207, response.content
    (error,) = response.json()["errors"]
    assert (error["index"], error["field"], error["code"]) == (1, field, code), error
    assert field.partition("[")[0] in error["message"]
    assert UsageEvent.objects.get().event_id == "good"


def test_a_request_without_a_good_record_is_422(api: APIClient) -> None:
    response = api.post("/usage/events", [{"id": "bad", "input_tokens": -1}, 7, None])

    assert response.status_code == 422
    assert [error["index"] for error in response.json()["errors"]] == [0, 1, 2]
    assert response.json()["rejected"] == 3
    assert response.json()["batch_id"] is None


@pytest.mark.parametrize("text", [rb"\ud800", rb"\udc00x", rb"x\uD83D", rb"\ud800\u0041"])
def test_half_a_surrogate_pair_is_rejected_for_its_record_alone(api: APIClient, text: bytes) -> None:
    response = post_raw(
        api, b'[{"id": "a", "model": "' + text + b'"}, {"id": "b", "model": "\\ud83d\\ude00 \\\\ud800"}]'
    )

    assert (response.status_code, response.json()["accepted"]) == (207, 1)
    assert response.json()["errors"][0]["field"] == "model"
    assert UsageEvent.objects.get().model == "\N{GRINNING FACE} \\ud800"


def test_a_cost_beyond_any_invoice_is_refused_not_lost_in_an_error(
    api: APIClient, operator_api: APIClient, organization: Organization
) -> None:
    price = {"provider": "acme", "model": "gold", "input_usd_per_million": "999999999999"}
    created = api.post(
        f"/organizations/{organization.slug}/prices", {**price, "effective_from": "2020-01-01T00:00:00Z"}
    )
    assert created.status_code == 201, created.content

    response = api.post("/usage/events", {"service": "acme", "model": "gold", "input_tokens": 10**12})

    assert response.status_code == 422
    assert response.json()["errors"][0]["code"] == "cost_out_of_range"


def test_reading_rights_do_not_write(organization: Organization) -> None:
    reader = make_key(organization, Scope.COSTS_READ).client()

    assert reader.post("/usage/events", {}).status_code == 403
    assert APIClient().post("/usage/events", {}).status_code == 401
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_refused_in_json(api: APIClient, method: str) -> None:
    response = getattr(api, method)("/usage/events")

    assert response.status_code == 405
    assert response.json()["code"]
