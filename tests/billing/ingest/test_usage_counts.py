"""Conversion of providers' usage objects to disjoint counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.ingest.usage.types import FlagCode
from billing.ingest.usage.usage_reader import read_usage
from billing.pricing.kinds import to_columns

ZERO = {
    "input_tokens": 0,
    "output_tokens": 0,
    "cache_read_tokens": 0,
    "cache_creation_tokens": 0,
    "cache_creation_1h_tokens": 0,
    "reasoning_tokens": 0,
    "audio_input_tokens": 0,
    "audio_output_tokens": 0,
}

CASES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "openai chat": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 300,
            "total_tokens": 1300,
            "prompt_tokens_details": {"cached_tokens": 600, "audio_tokens": 50},
            "completion_tokens_details": {"reasoning_tokens": 200, "audio_tokens": 20},
        },
        {
            "input_tokens": 400,
            "cache_read_tokens": 600,
            "audio_input_tokens": 50,
            "output_tokens": 300,
            "reasoning_tokens": 200,
            "audio_output_tokens": 20,
        },
    ),
    "openai chat without details": (
        {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21, "prompt_tokens_details": None},
        {"input_tokens": 9, "output_tokens": 12},
    ),
    "openai embeddings": ({"prompt_tokens": 8, "total_tokens": 8}, {"input_tokens": 8}),
    "openai responses": (
        {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 600},
            "output_tokens": 300,
            "output_tokens_details": {"reasoning_tokens": 200},
            "total_tokens": 1300,
        },
        {"input_tokens": 400, "cache_read_tokens": 600, "output_tokens": 300, "reasoning_tokens": 200},
    ),
    "anthropic": (
        {
            "input_tokens": 100,
            "cache_creation_input_tokens": 1000,
            "cache_read_input_tokens": 5000,
            "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
            "output_tokens": 20,
            "service_tier": "standard",
        },
        {
            "input_tokens": 100,
            "cache_creation_tokens": 1000,
            "cache_creation_1h_tokens": 600,
            "cache_read_tokens": 5000,
            "output_tokens": 20,
        },
    ),
    "anthropic without the split": (
        {"input_tokens": 100, "cache_creation_input_tokens": 1000, "cache_read_input_tokens": 0, "output_tokens": 20},
        {"input_tokens": 100, "cache_creation_tokens": 1000, "output_tokens": 20},
    ),
    "anthropic with nulls": (
        {"input_tokens": 100, "cache_creation_input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 1},
        {"input_tokens": 100, "output_tokens": 1},
    ),
    "anthropic through litellm": (
        {
            "prompt_tokens": 6100,
            "completion_tokens": 20,
            "total_tokens": 6120,
            "cache_creation_input_tokens": 1000,
            "cache_read_input_tokens": 5000,
            "prompt_tokens_details": {
                "cached_tokens": 5000,
                "audio_tokens": 90,
                "cache_creation_tokens": 1000,
                "cache_creation_token_details": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
            },
        },
        {
            "input_tokens": 100,
            "cache_creation_tokens": 1000,
            "cache_creation_1h_tokens": 600,
            "cache_read_tokens": 5000,
            "audio_input_tokens": 90,
            "output_tokens": 20,
        },
    ),
    "cache writes as openai names them": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cache_write_tokens": 40, "cache_creation_tokens": 40},
        },
        {"input_tokens": 60, "cache_creation_tokens": 40, "output_tokens": 1},
    ),
    "gemini": (
        {
            "promptTokenCount": 1000,
            "cachedContentTokenCount": 600,
            "candidatesTokenCount": 100,
            "thoughtsTokenCount": 200,
            "totalTokenCount": 1300,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 950}, {"modality": "AUDIO", "tokenCount": 50}],
        },
        {
            "input_tokens": 400,
            "cache_read_tokens": 600,
            "audio_input_tokens": 50,
            "output_tokens": 300,
            "reasoning_tokens": 200,
        },
    ),
    "gemini as its Python client writes it": (
        {
            "prompt_token_count": 1000,
            "candidates_token_count": 100,
            "thoughts_token_count": None,
            "total_token_count": 1100,
            "prompt_tokens_details": [{"modality": "AUDIO", "token_count": 50}],
        },
        {"input_tokens": 1000, "audio_input_tokens": 50, "output_tokens": 100},
    ),
}


@pytest.mark.parametrize(("usage", "expected"), CASES.values(), ids=CASES.keys())
def test_every_provider_counts_in_its_own_way_and_we_in_one(usage: dict[str, Any], expected: dict[str, int]) -> None:
    assert to_columns(read_usage(usage).quantities) == ({**ZERO, **expected}, {})


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"tokens": 5},
        {"prompt_tokens": None, "completion_tokens": 1},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": []},
        {"output_tokens": 5},
        {"promptTokenCount": "x"},
        {"prompt_tokens": 10**13, "completion_tokens": 1},
        {"prompt_tokens": 9, "completion_tokens": 1, "cache_creation_input_tokens": "x"},
        {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cache_creation_tokens": -1}},
    ],
)
def test_what_cannot_be_read_says_so(usage: dict[str, Any]) -> None:
    assert read_usage(usage).reason is not None


def test_a_cache_beside_the_input_that_nothing_proves_is_flagged() -> None:
    usage = {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 6}, "output_tokens": 1}
    reading = read_usage(usage)
    assert [flag.code for flag in reading.flags] == [FlagCode.UNUSUAL_READING]
    older_litellm = {"prompt_tokens": 31, "completion_tokens": 467, "cache_creation_input_tokens": 1253}
    reading = read_usage(older_litellm, source="litellm")
    assert reading.quantities == {"input": 31, "cache_creation": 1253, "output": 467}
    assert [flag.code for flag in reading.flags] == [FlagCode.UNUSUAL_READING]
    assert read_usage(older_litellm).reason is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    [
        *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "promptTokenCount"),
        *("thoughtsTokenCount", "prompt_tokens_details", "input_tokens_details", "cache_creation"),
        *("cache_read_input_tokens", "cached_tokens", "cache_creation_input_tokens", "cache_creation_tokens"),
    ]
)


@given(st.dictionaries(names, json_values | st.dictionaries(names, json_values, max_size=3), max_size=6))
def test_any_object_is_read_and_counts_are_consistent(usage: dict[str, Any]) -> None:
    counts, _ = to_columns(read_usage(usage).quantities)
    assert all(type(count) is int and count >= 0 for count in counts.values())
    assert counts["cache_creation_1h_tokens"] <= counts["cache_creation_tokens"]
    assert counts["audio_input_tokens"] <= counts["input_tokens"]
