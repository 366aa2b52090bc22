"""Usage, cost and identity of LiteLLM calls, with recorded payloads (fixtures/litellm/README.md)."""

import json
from decimal import Decimal
from typing import Any

import pytest

from billing.ingest import litellm
from billing.ingest.types import UsageEventInput
from billing.ingest.usage.types import LARGEST_COUNT
from billing.pricing.kinds import TOKEN_COUNTS
from tests.billing.ingest.litellm_payloads import (
    NAMES,
    NOW,
    all_payloads,
    event_of,
    fault_of,
    parsed_one,
    payload,
    with_usage,
)


def counts_of(event: UsageEventInput) -> dict[str, int]:
    return {field: count for field in TOKEN_COUNTS if (count := getattr(event, field))}


# --- Tokens ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("openai_chat", {"input_tokens": 11, "output_tokens": 7}),
        ("openai_tools", {"input_tokens": 11, "output_tokens": 7}),
        ("openai_embedding", {"input_tokens": 8}),
        ("openai_cached", {"input_tokens": 86, "output_tokens": 300, "cache_read_tokens": 1920}),
        ("openai_stream", {"input_tokens": 86, "output_tokens": 300, "cache_read_tokens": 1920}),
        ("openai_reasoning", {"input_tokens": 100, "output_tokens": 900, "reasoning_tokens": 832}),
        (
            "openai_responses",
            {"input_tokens": 20, "output_tokens": 87, "cache_read_tokens": 16, "reasoning_tokens": 64},
        ),
        (
            "openai_audio",
            {"input_tokens": 300, "output_tokens": 220, "audio_input_tokens": 200, "audio_output_tokens": 180},
        ),
        (
            "gemini",
            {
                "input_tokens": 1976,
                "output_tokens": 500,
                "cache_read_tokens": 1024,
                "reasoning_tokens": 380,
                "audio_input_tokens": 500,
            },
        ),
        *(
            (
                name,
                {
                    "input_tokens": 120,
                    "output_tokens": 210,
                    "cache_read_tokens": 5000,
                    "cache_creation_tokens": 1000,
                    "cache_creation_1h_tokens": 600,
                },
            )
            for name in ("anthropic_cache", "anthropic_cache_stream", "anthropic_messages")
        ),
        ("proxy_client_left", {"input_tokens": 13, "output_tokens": 3}),
    ],
)
def test_tokens_are_taken_apart_for_every_provider(name: str, counts: dict[str, int]) -> None:
    assert counts_of(event_of(payload(name))) == counts


@pytest.mark.parametrize("name", NAMES)
def test_tokens_add_up_to_what_litellm_counts(name: str) -> None:
    record = payload(name)
    counts = counts_of(event_of(record))
    prompt = sum(counts.get(field, 0) for field in ("input_tokens", "cache_read_tokens", "cache_creation_tokens"))
    assert (prompt, counts.get("output_tokens", 0)) == (record["prompt_tokens"], record["completion_tokens"])


def test_openais_own_name_for_cache_writes_is_read_too() -> None:
    event = event_of(with_usage(100, prompt_tokens_details={"cache_write_tokens": 40}))
    assert (event.input_tokens, event.cache_creation_tokens) == (60, 40)


def test_caches_that_do_not_fit_into_the_prompt_were_counted_beside_it() -> None:
    exclusive = event_of(with_usage(10, cache_read_input_tokens=5000, cache_creation_input_tokens=70))
    assert (exclusive.input_tokens, exclusive.cache_read_tokens, exclusive.cache_creation_tokens) == (10, 5000, 70)
    usage = {"cache_read_input_tokens": 5000, "cache_creation_input_tokens": 70}
    exclusive_writes = event_of(with_usage(5010, total_tokens=5085, **usage))
    assert (exclusive_writes.input_tokens, exclusive_writes.cache_read_tokens) == (10, 5000)


@pytest.mark.parametrize(
    "usage",
    [
        {"cache_read_input_tokens": 5000, "cache_creation_input_tokens": 70},
        {"prompt_tokens_details": {"cached_tokens": LARGEST_COUNT + 1}},
    ],
)
def test_counts_that_contradict_each_other_are_stored_and_not_guessed(usage: dict[str, Any]) -> None:
    parsed = parsed_one(with_usage(5010, **usage))
    assert parsed.reading is not None
    assert parsed.reading.reason is not None
    assert all(getattr(parsed.event, field) is None for field in TOKEN_COUNTS)
    assert parsed.event.usage == parsed.reading.raw
    assert parsed.event.cost_usd == Decimal("0.00000585")


def test_parts_that_exceed_their_wholes_are_not_counted() -> None:
    event = event_of(
        with_usage(
            10,
            prompt_tokens_details={
                "audio_tokens": 99,
                "cache_creation_tokens": 4,
                "cache_creation_token_details": {"ephemeral_1h_input_tokens": 99},
            },
            completion_tokens_details={"reasoning_tokens": 99, "audio_tokens": 99},
        )
    )
    assert all(getattr(event, field) is None for field in TOKEN_COUNTS)


def test_a_success_without_counts_has_unknown_usage_rather_than_none() -> None:
    event = event_of(payload("openai_stream_without_usage"))
    assert all(getattr(event, field) is None for field in TOKEN_COUNTS)
    assert event.cost_usd is None


# --- Cost ------------------------------------------------------------------------------------------------------


def test_the_cost_is_the_one_litellm_reports_to_the_last_digit() -> None:
    assert event_of(payload("openai_chat")).cost_usd == Decimal("0.00000585")
    assert event_of(payload("anthropic_cache")).cost_usd == Decimal("0.010110000000000001")
    assert event_of(payload("custom_price")).cost_usd == Decimal("0.000024999999999999998")
    assert event_of(payload("openai_embedding")).cost_usd == Decimal("0.00000016")


@pytest.mark.parametrize(
    "name", ["unknown_model", "openai_audio", "stream_cut_off", "free_model", "image_without_price"]
)
def test_a_cost_of_zero_for_something_used_is_unknown_and_not_free(name: str) -> None:
    assert payload(name)["response_cost"] == 0
    assert event_of(payload(name)).cost_usd is None


def test_a_cost_that_leaves_something_out_is_unknown() -> None:
    failed = payload("unknown_model")["response_cost_failure_debug_info"]
    assert event_of(payload(response_cost=0.001, response_cost_failure_debug_info=failed)).cost_usd is None


@pytest.mark.parametrize("name", ["cache_hit", "failure_500", "proxy_batch_poll", "proxy_moderation"])
def test_a_cost_of_zero_is_believed_where_nothing_was_used(name: str) -> None:
    assert event_of(payload(name)).cost_usd == 0


def test_a_failure_that_used_tokens_is_not_free() -> None:
    event = event_of(payload(status="failure", response_cost=0.0))
    assert (event.cost_usd, event.input_tokens) == (None, 11)


# --- Identity --------------------------------------------------------------------------------------------------


def test_a_call_is_known_by_litellms_id() -> None:
    event = event_of(payload("openai_chat"))
    assert (event.id, event.request_id, event.source) == ("chatcmpl-0001", "chatcmpl-0001", "litellm")


def test_an_attempt_that_failed_is_another_event_than_the_success_with_the_same_id() -> None:
    failed, succeeded = payload("proxy_embedding_failed"), payload("proxy_embedding_fallback")
    assert failed["id"] == succeeded["id"]
    assert event_of(failed).id == f"{failed['id']}_failure{failed['startTime']}"
    assert event_of(succeeded).id == succeeded["id"]
    assert event_of(failed).request_id == event_of(succeeded).request_id == succeeded["id"]


def test_polls_of_a_job_are_events_of_their_own_until_it_costs_something() -> None:
    polls = [payload("proxy_batch_poll"), payload("proxy_batch_poll_again")]
    done = {**polls[1], "response_cost": 0.25, "response_cost_failure_debug_info": None}
    ids = [event_of(record).id for record in (*polls, done)]
    assert len(set(ids)) == 3
    assert ids[2] == "batch_1"


def test_every_recorded_call_is_one_event_with_an_id_of_its_own() -> None:
    records = [{**record, "id": f"{number}-{record['id']}"} for number, record in enumerate(all_payloads())]
    batch = litellm.parse([json.dumps(record).encode() for record in records], now=NOW)
    assert not batch.errors
    assert len({parsed.event.id for parsed in batch.events}) == len(records)


def test_an_id_that_is_too_long_stays_different_from_others_like_it() -> None:
    long = payload("proxy_responses")
    assert len(long["id"]) > 255
    event, other = event_of(long), event_of({**long, "id": long["id"] + "x"})
    assert event.id is not None
    assert len(event.id) == 255
    assert long["id"].startswith(event.id[:200])
    assert event.id != other.id
    assert event == event_of(long)


def test_the_address_of_vertex_ai_is_the_region_of_the_call() -> None:
    address = "https://us-central1-aiplatform.googleapis.com/v1/projects/example"
    vertex = {"custom_llm_provider": "vertex_ai", "model": "gemini-2.5-pro", "api_base": address}
    assert event_of(payload(**vertex)).region == "us-central1"
    assert event_of(payload(api_base=address)).region is None


def test_a_time_in_the_future_is_named_as_litellm_names_it() -> None:
    fault = fault_of(payload(startTime=9e9))
    assert (fault.field, fault.message) == ("startTime", "startTime is more than one hour in the future.")
