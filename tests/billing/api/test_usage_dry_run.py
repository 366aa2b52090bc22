"""`POST /usage/events?dry_run=true`, and events that come from files."""

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.models import IngestBatch, UsageEvent
from costtrack.event_files import EventFile, ReadOptions
from organizations.models import Organization
from tests.costtrack.event_files.reading import NOW as FILE_NOW
from tests.costtrack.event_files.reading import lines
from tests.costtrack.event_files.test_provider_usage import ANTHROPIC, OPENAI, anthropic_page, openai_page
from tests.costtrack.event_files.test_spend_logs import row
from tests.costtrack.event_files.test_transcripts import USER, message, meta, tokens, turn
from tests.usage import set_price

URL = "/usage/events"
EVENT = {"id": "a", "model": "small", "input_tokens": 1_000_000, "output_tokens": 0}


@pytest.fixture(autouse=True)
def _price(organization: Organization) -> None:
    set_price("small", organization=organization, input="2", output="10")


def dry_run(api: APIClient, *events: Any) -> Any:
    return api.post(f"{URL}?dry_run=true", list(events), format="json")


def send_file(api: APIClient, content: bytes) -> Any:
    records = EventFile(io.BytesIO(content), ReadOptions(now=FILE_NOW)).records()
    return api.post(URL, [json.loads(record.json) for record in records], format="json").json()


def test_a_dry_run_says_what_would_be_stored_and_stores_nothing(api: APIClient) -> None:
    api.post(URL, [EVENT], format="json")
    batches = IngestBatch.objects.count()
    sent = [EVENT, {**EVENT, "input_tokens": 1}, {**EVENT, "id": "b"}, {"id": "c", "model": "unknown"}, {"modle": 1}]

    for _ in range(2):
        response = dry_run(api, *sent)
        body = response.json()
        assert response.status_code == 207
        assert (body["accepted"], body["duplicates"], body["conflicts"], body["rejected"]) == (2, 1, 1, 1)
        assert (body["unpriced"], body["unpriced_models"]) == (1, ["unknown"])
        assert Decimal(body["cost_usd"]) == 2
        assert [(error["index"], error["code"]) for error in body["errors"]] == [(1, "conflict"), (4, "unknown_field")]
        assert body["batch_id"] is None
    assert UsageEvent.objects.count() == 1
    assert IngestBatch.objects.count() == batches


def test_a_dry_run_without_a_readable_record_is_refused_like_the_request(api: APIClient) -> None:
    response = dry_run(api, {"modle": 1})
    assert (response.status_code, response.json()["cost_usd"]) == (422, "0")
    assert api.post(f"{URL}?dry_run=perhaps", [EVENT], format="json").status_code == 422


def test_a_dry_run_claims_no_idempotency_key(api: APIClient) -> None:
    for query in ("?dry_run=true", ""):
        response = api.post(f"{URL}{query}", [EVENT], format="json", headers={"Idempotency-Key": "k1"})
        assert (response.status_code, response.json()["accepted"]) == (200, 1)


def test_copies_of_a_transcript_are_duplicates_with_any_session_name(api: APIClient) -> None:
    claude = lines(USER, message("msg_1", 80), message("msg_2", 5))
    resumed = lines(USER, message("msg_1", 80, session="s2"), message("msg_3", 7, session="s2"))
    codex = lines(meta("t1"), turn(), tokens(100, 100), tokens(250, 150))
    fork = lines(meta("t2", forked_from_id="t1"), turn(), tokens(100, 100, "2026-11-03T10:00:00Z"), tokens(400, 300))
    outcomes = [send_file(api, content) for content in (claude, resumed, codex, fork, claude)]
    assert [(body["accepted"], body["duplicates"], body["conflicts"]) for body in outcomes] == [
        (2, 0, 0),
        (1, 1, 0),
        (2, 0, 0),
        (1, 1, 0),
        (0, 2, 0),
    ]
    first = UsageEvent.objects.get(event_id="msg_1")
    assert (first.session_id, first.cache_creation_1h_tokens, first.output_tokens) == ("s1", 10, 80)
    assert first.other_quantities == {"web_search": 1}
    assert first.flags is None


def test_a_transcripts_call_is_the_one_that_another_source_has_reported(api: APIClient) -> None:
    usage = {"input_tokens": 4, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 100, "output_tokens": 80}
    event = {"id": "x", "service": "anthropic", "model": "claude-opus-5", "request_id": "req_msg_1", "usage": usage}
    api.post(URL, [event], format="json")
    assert send_file(api, lines(USER, message("msg_1", 80)))["duplicates"] == 1


def test_a_row_of_spend_logs_is_the_call_that_litellm_has_reported(api: APIClient) -> None:
    payload = {
        "id": "chatcmpl-AbCdEf123456",
        "call_type": "acompletion",
        "model": "gpt-4o",
        "custom_llm_provider": "openai",
        "status": "success",
        "startTime": 1793610000.0,
        "endTime": 1793610002.0,
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "response_cost": 0.0125,
    }
    api.post("/integrations/litellm", [payload], format="json")
    own = row(request_id="unknown-model-1", model="own/llama", custom_llm_provider="own")
    body = send_file(api, lines(row(), own))
    assert (body["accepted"], body["duplicates"], body["conflicts"], body["unpriced"]) == (1, 1, 0, 0)
    estimated = UsageEvent.objects.get(event_id="unknown-model-1")
    assert (estimated.cost_basis, estimated.token_cost_usd) == ("gateway", Decimal("0.0125"))


def test_usage_exports_are_aggregates_that_are_counted_once(api: APIClient) -> None:
    for content in (lines(openai_page(OPENAI)), lines(anthropic_page(ANTHROPIC))):
        first, second = send_file(api, content), send_file(api, content)
        assert (first["accepted"], second["duplicates"]) == (1, 1)
    openai, anthropic = UsageEvent.objects.order_by("id")
    assert (openai.requests, openai.input_tokens, openai.cache_read_tokens, openai.output_tokens) == (12, 200, 800, 50)
    assert (anthropic.requests, anthropic.input_tokens, anthropic.cache_read_tokens) == (1, 1500, 200)
    assert (anthropic.cache_creation_tokens, anthropic.cache_creation_1h_tokens) == (1500, 1000)
    assert all([flag["code"] for flag in event.flags or ()] == ["aggregate"] for event in (openai, anthropic))
    found = api.get(f"{URL}?event_id={openai.event_id}").json()["results"]
    assert [event["source"] for event in found] == ["openai-usage"]
