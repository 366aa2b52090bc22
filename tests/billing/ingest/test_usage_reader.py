"""Reading of usage objects: what cannot be read, costs and conditions in the object, and what is stored of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.ingest.usage import gather, unwrap, usage_reader
from billing.ingest.usage.conventions import CONVENTIONS
from billing.ingest.usage.paths import MAX_VALUES
from billing.ingest.usage.raw import MAX_RAW_BYTES
from billing.ingest.usage.spellings import (
    ATTRIBUTE_FIELDS,
    COST_FIELDS,
    MODALITY_FIELDS,
    QUANTITY_FIELDS,
    TOKEN_FIELDS,
    meaning,
)
from billing.ingest.usage.types import Flag, FlagCode, UnreadableReason
from billing.ingest.usage.usage_reader import read_usage
from billing.pricing.kinds import KINDS
from tests.billing.ingest.usage_cases import CASES
from tests.profiles import examples

CHAT: dict[str, Any] = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}


def flags(usage: dict[str, Any], service: str = "") -> set[FlagCode]:
    return {flag.code for flag in read_usage(usage, service=service).flags}


def test_an_ordinary_object_has_no_flags_and_nothing_is_stored_of_it() -> None:
    reading = read_usage(CHAT, service="openai", model="gpt-4o")

    assert reading.quantities == {"input": 1000, "output": 200}
    assert (reading.flags, reading.reason, reading.raw) == ((), None, None)


@pytest.mark.parametrize("usage", [None, [], "1000", 5, True])
def test_what_is_not_an_object_has_no_counts(usage: Any) -> None:
    assert read_usage(usage).reason is UnreadableReason.NO_COUNTS


@pytest.mark.parametrize(
    "value", ["1000", True, -1, 1.5, float("nan"), float("inf"), 10**13, 10**400, [1000], {"tokens": 1000}]
)
def test_a_count_that_is_not_a_number_of_tokens_is_not_guessed(value: Any) -> None:
    reading = read_usage(CHAT | {"prompt_tokens": value}, service="openai")

    assert reading.quantities == {}
    assert reading.reason is not None
    assert reading.raw is not None


@pytest.mark.parametrize("value", [1000, 1000.0])
def test_a_whole_number_may_be_written_as_a_float(value: Any) -> None:
    assert read_usage(CHAT | {"prompt_tokens": value}).quantities == {"input": 1000, "output": 200}


def test_output_alone_is_not_a_call() -> None:
    assert read_usage({"output_tokens": 15}, service="anthropic").reason is UnreadableReason.NO_COUNTS


def test_an_unread_key_is_named() -> None:
    usage = CHAT | {"prompt_tokens_details": {"hologram_tokens": 5, "cached_tokens": 0}}

    assert read_usage(usage).flags == (Flag(FlagCode.UNREAD_USAGE, "prompt_tokens_details.hologram_tokens"),)


@pytest.mark.parametrize("value", [0, None, False, "", "some text", [], {}])
def test_an_unknown_key_that_says_nothing_is_not_reported(value: Any) -> None:
    assert flags(CHAT | {"novelty": value}) == set()


@pytest.mark.parametrize(
    ("key", "value"), [("novelty", 1), ("novelty", 0.5), ("novelty", True), ("mode", "batch"), ("new_tier", "gold")]
)
def test_an_unknown_key_that_may_matter_is_reported(key: str, value: Any) -> None:
    assert flags(CHAT | {key: value}) == {FlagCode.UNREAD_USAGE}


@pytest.mark.parametrize("key", ["queue_time", "total_duration", "latency_ms", "contextWindow", "created"])
def test_times_and_limits_are_known_to_be_without_meaning(key: str) -> None:
    assert flags(CHAT | {key: 12345}) == set()


@pytest.mark.parametrize(
    "usage",
    [
        {"input": 1000, "output": 200, "total": 1200, "unit": "CHARACTERS"},
        {"InputTokenCount": 9, "OutputTokenCount": 1, "AdditionalCounts": {"InputTokenDetails.CachedTokenCount": 8}},
        {
            "usage": {"promptTokens": 9, "completionTokens": 1},
            "providerMetadata": {"anthropic": {"cacheReadTokens": 8}},
        },
        {
            "input_tokens": 20,
            "output_tokens": 5,
            "input_token_details": {"flex": 10},
            "output_token_details": {"flex": 5},
        },
        {"prompt_tokens": 9, "completion_tokens": 1, "num_server_side_tools_used": 2},
        {"usage": {"prompt_tokens": 9, "completion_tokens": 1}, "perf_metrics": {"cached-tokens": "5"}},
        {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 15, "connector_tokens": 5},
        {"prompt_tokens": 9, "completion_tokens": 1, "extra": {"google": {"traffic_type": "ON_DEMAND_FLEX"}}},
    ],
)
def test_what_changes_the_cost_and_is_only_half_understood_is_flagged(usage: dict[str, Any]) -> None:
    assert read_usage(usage, service="openai", model="gpt-5.4").flags != ()


def test_the_service_tier_of_the_response_comes_before_that_of_the_request() -> None:
    tiers = {"openai.request.service_tier": "auto", "openai.response.service_tier": "flex"}

    assert read_usage(CHAT | tiers).attributes == {"service_tier": "flex"}
    assert read_usage(CHAT | {"openai.request.service_tier": "flex"}).attributes == {"service_tier": "flex"}


def test_a_known_structure_is_read_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths of a structure are cached; here they are also computed each time."""
    usages = [(case, case["usage"]) for case in CASES if isinstance(case.get("usage"), dict)]
    known = [read_usage(usage, service=case["service"], model=case["model"]) for case, usage in usages]
    again = [read_usage(usage, service=case["service"], model=case["model"]) for case, usage in usages]
    monkeypatch.setattr(gather, "structure_of", lambda *_: None)
    monkeypatch.setattr(usage_reader, "structure_of", lambda *_: None)
    monkeypatch.setattr(unwrap, "_is_usage", lambda _: False)

    assert [read_usage(usage, service=case["service"], model=case["model"]) for case, usage in usages] == known
    assert again == known


def test_the_value_of_another_object_with_the_same_structure_is_read() -> None:
    usage = {
        "promptTokenCount": 30,
        "candidatesTokenCount": 5,
        "totalTokenCount": 35,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}, {"modality": "AUDIO", "tokenCount": 20}],
    }
    details = [{"modality": "AUDIO", "tokenCount": 10}, {"modality": "TEXT", "tokenCount": 20}]

    assert read_usage(usage).quantities == {"input": 10, "audio_input": 20, "output": 5}
    assert read_usage(usage | {"promptTokensDetails": details}).quantities == {
        "input": 20,
        "audio_input": 10,
        "output": 5,
    }
    assert read_usage(usage | {"candidatesTokenCount": 5.5}).reason is UnreadableReason.NOT_A_COUNT


def test_two_names_of_one_count_are_not_added() -> None:
    usage = CHAT | {"cached_tokens": 600, "prompt_tokens_details": {"cached_tokens": 600}}

    assert read_usage(usage, service="moonshot").quantities == {"input": 400, "cache_read": 600, "output": 200}


def test_two_names_that_disagree_are_flagged() -> None:
    usage = CHAT | {"cached_tokens": 500, "prompt_tokens_details": {"cached_tokens": 600}}

    assert FlagCode.CONFLICTING_VALUES in flags(usage, service="openai")


def test_a_zero_does_not_contradict_a_count_under_another_name() -> None:
    usage = CHAT | {"cache_read_input_tokens": 600, "prompt_tokens_details": {"cached_tokens": 0}}

    reading = read_usage(usage, service="openai")

    assert reading.quantities == {"input": 400, "cache_read": 600, "output": 200}
    assert reading.flags == ()


def test_a_cache_beside_the_input_shows_in_the_total() -> None:
    inclusive = {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200, "cache_read_tokens": 600}
    exclusive = inclusive | {"total_tokens": 1800}

    assert read_usage(inclusive).quantities == {"input": 400, "cache_read": 600, "output": 200}
    assert read_usage(exclusive).quantities == {"input": 1000, "cache_read": 600, "output": 200}


def test_without_a_total_an_unknown_convention_is_flagged() -> None:
    usage = {"input_tokens": 1000, "output_tokens": 200, "cache_read_tokens": 600}

    assert flags(usage) == {FlagCode.TWO_READINGS}


def test_a_total_that_no_reading_adds_up_to_is_flagged() -> None:
    assert flags(CHAT | {"total_tokens": 1201}, service="openai") == {FlagCode.TOTAL_MISMATCH}


def test_a_part_larger_than_its_total_is_a_contradiction() -> None:
    usage = CHAT | {"prompt_tokens_details": {"cached_tokens": 5000}}

    reading = read_usage(usage, service="openai")

    assert (reading.quantities, reading.reason) == ({}, UnreadableReason.CONTRADICTION)


def test_litellms_older_versions_left_caches_beside_the_prompt() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "prompt_tokens_details": {"cached_tokens": 500}}

    assert read_usage(usage, source="litellm").quantities == {"input": 100, "cache_read": 500, "output": 20}


def test_cached_audio_of_unknown_size_is_flagged() -> None:
    usage = CHAT | {"prompt_tokens_details": {"cached_tokens": 300, "audio_tokens": 500, "text_tokens": 500}}

    reading = read_usage(usage, service="openai")

    assert reading.quantities == {"input": 200, "cache_read": 300, "audio_input": 500, "output": 200}
    assert {flag.code for flag in reading.flags} == {FlagCode.UNKNOWN_MODALITY}


def test_audio_that_is_all_of_the_prompt_is_all_of_the_cache() -> None:
    usage = CHAT | {"prompt_tokens_details": {"cached_tokens": 300, "audio_tokens": 1000}}

    assert read_usage(usage).quantities == {"audio_input": 700, "audio_cache_read": 300, "output": 200}


def test_iterations_are_priced_one_by_one() -> None:
    usage = {
        "input_tokens": 23000,
        "output_tokens": 1000,
        "iterations": [
            {"type": "compaction", "input_tokens": 180000, "output_tokens": 3500},
            {"type": "message", "input_tokens": 23000, "output_tokens": 1000},
        ],
    }

    reading = read_usage(usage, service="anthropic", model="claude-opus-4-6")

    assert reading.quantities == {"input": 203000, "output": 4500}
    assert reading.calls == ({"input": 23000, "output": 1000}, {"input": 180000, "output": 3500})


def test_an_iteration_of_an_unknown_type_is_flagged() -> None:
    usage = {
        "input_tokens": 23000,
        "output_tokens": 1000,
        "iterations": [{"type": "advisor_message", "model": "claude-haiku-5-5", "input_tokens": 5, "output_tokens": 5}],
    }

    assert read_usage(usage, service="anthropic").flags == (Flag(FlagCode.UNREAD_USAGE, "iterations.advisor_message"),)


def test_only_the_provider_itself_bills() -> None:
    usage = CHAT | {"cost": 0.0065}

    assert str(read_usage(usage, service="openrouter").costs.provider_usd) == "0.0065"
    assert read_usage(usage, service="openai").costs.provider_usd is None
    assert str(read_usage(usage, service="openai").costs.sender_usd) == "0.0065"


def test_a_free_model_is_a_bill_of_zero_and_a_senders_zero_is_no_statement() -> None:
    assert read_usage(CHAT | {"cost": 0}, service="openrouter").costs.provider_usd == 0
    assert read_usage(CHAT | {"costUSD": 0}, service="openai").costs.sender_usd is None


def test_a_gateways_cost_is_an_estimate() -> None:
    usage = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5, "gen_ai.usage.cost": 0.5}

    assert str(read_usage(usage).costs.gateway_usd) == "0.5"
    assert str(read_usage(CHAT | {"spend": "0.25"}).costs.gateway_usd) == "0.25"


def test_the_provider_behind_a_customers_own_key_bills_too() -> None:
    usage = CHAT | {"cost": 0.000225, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0045}}

    assert str(read_usage(usage, service="openrouter").costs.provider_usd) == "0.004725"
    without = usage | {"cost_details": {"upstream_inference_cost": None}}
    assert flags(without, service="openrouter") == {FlagCode.COST_MISMATCH}


def test_conditions_are_read_from_the_usage_and_around_it() -> None:
    assert read_usage(CHAT | {"service_tier": "flex"}).attributes == {"service_tier": "flex"}
    assert read_usage({"usage": CHAT, "service_tier": "flex"}).attributes == {"service_tier": "flex"}
    assert read_usage(CHAT, beside={"service_tier": "flex", "created": 5}).attributes == {"service_tier": "flex"}
    assert read_usage(CHAT | {"inference_geo": "us", "speed": "fast"}).attributes == {"region": "us", "speed": "fast"}
    assert read_usage(CHAT | {"batch": True}).attributes == {"service_tier": "batch"}


def test_the_usage_of_several_models_has_no_counts_and_the_sum_of_their_costs() -> None:
    usage = {
        "modelUsage": {
            "claude-opus-5-5": {"inputTokens": 10, "outputTokens": 5, "costUSD": 0.5},
            "claude-haiku-5-5": {"inputTokens": 10, "outputTokens": 5, "costUSD": 0.25},
        }
    }

    reading = read_usage(usage, service="anthropic")

    assert (reading.reason, reading.costs.sender_usd) == (UnreadableReason.SEVERAL_MODELS, 0.75)


def test_what_is_stored_has_numbers_and_names_and_no_content() -> None:
    usage = CHAT | {
        "novelty": 7,
        "service_tier": "standard",
        "details": [{"modality": "AUDIO", "text": "secret words", "n": 1}],
        "prompt": "secret words",
    }

    raw = read_usage(usage).raw

    assert raw == CHAT | {"novelty": 7, "service_tier": "standard", "details": [{"modality": "AUDIO", "n": 1}]}


def test_what_is_stored_can_be_read_again() -> None:
    usage = CHAT | {"novelty": 7, "completion_tokens_details": {"reasoning_tokens": 50}}
    reading = read_usage(usage, service="openai")

    assert read_usage(reading.raw, service="openai").quantities == reading.quantities


def test_what_is_stored_is_cut_at_four_kilobytes() -> None:
    reading = read_usage(CHAT | {f"novelty_{number}": number + 1 for number in range(900)})

    assert len(json.dumps(reading.raw)) <= MAX_RAW_BYTES
    assert Flag(FlagCode.RAW_TRUNCATED) in reading.flags


def test_only_a_part_of_a_huge_object_is_looked_at() -> None:
    wide = CHAT | {f"key_{number}": 0 for number in range(MAX_VALUES + 1)}
    deep: dict[str, Any] = {}
    level = deep
    for _ in range(100_000):
        level["more"] = {}
        level = level["more"]

    assert flags(wide) == {FlagCode.TOO_LARGE, FlagCode.RAW_TRUNCATED}
    assert flags(CHAT | {"deep": deep}) == {FlagCode.TOO_LARGE, FlagCode.RAW_TRUNCATED}
    assert flags(CHAT | {"x" * 10**6: 1}) == {FlagCode.UNREAD_USAGE}


KEYS = sorted(
    {name for names in (*TOKEN_FIELDS.values(), *QUANTITY_FIELDS.values()) for name in names}
    | {"usage", "details", "iterations", "modelUsage", "raw", "metadata", "usage_object", "type"}
    | {"prompt_tokens_details", "cost", "service_tier", "novelty"}
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)


@given(VALUES)
@examples(200)
def test_nothing_that_is_sent_raises(usage: Any) -> None:
    reading = read_usage(usage, service="openai", model="gpt-4o")

    assert all(quantity > 0 for quantity in reading.quantities.values())
    assert bool(reading.quantities) <= (reading.reason is None)
    json.dumps(reading.raw)


COUNTS = st.integers(0, 10**6)


@given(plain=COUNTS, cached=COUNTS, written=COUNTS, output=COUNTS, reasoning=COUNTS)
@examples(100)
def test_every_token_is_in_exactly_one_kind(plain: int, cached: int, written: int, output: int, reasoning: int) -> None:
    tokens = plain + cached + written + output + reasoning
    usage = {
        "prompt_tokens": plain + cached + written,
        "completion_tokens": output + reasoning,
        "total_tokens": tokens,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }

    reading = read_usage(usage, service="openai", model="gpt-4o")

    assert sum(reading.quantities.values()) == tokens
    assert reading.flags == ()


def test_the_tables_are_consistent() -> None:
    named = [
        name
        for fields in (TOKEN_FIELDS, MODALITY_FIELDS, QUANTITY_FIELDS, ATTRIBUTE_FIELDS)
        for names in fields.values()
        for name in names
    ]
    keys = {key for rule in CONVENTIONS for key in (*rule.keys, *rule.all_keys)}

    assert len(named) == len(set(named)), "a name has two meanings"
    assert not set(named) & COST_FIELDS.keys()
    assert set(QUANTITY_FIELDS) <= set(KINDS)
    assert {key for key in keys if meaning(key).role != "field"} == set()
    assert CONVENTIONS[-1].keys == CONVENTIONS[-1].platforms == ()
