"""Token counts of prompts: exact with a public vocabulary, else estimated."""

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing import token_counting
from billing.pricing.token_counting import TokenCount, count_prompt
from costtrack.errors import InvalidError

HI = {"role": "user", "content": "hi"}
DEEP: list[Any] = []
for _ in range(900):
    DEEP = [DEEP]


def count(*messages: Any, model: str = "gpt-4o") -> int:
    return count_prompt(model, list(messages)).tokens


def of_text(text: str, model: str = "gpt-4o") -> int:
    """The tokens of a text without overhead."""
    return count({"role": "user", "content": text}, model=model) - count({"role": "user", "content": ""}, model=model)


def test_a_message_of_one_word_has_as_many_tokens_as_openai_bills() -> None:
    assert count_prompt("gpt-4o", [HI]) == TokenCount(8, is_exact=True, tokenizer="o200k_base")


@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("tiktoken is great!", 6, 6),
        ("antidisestablishmentarianism", 6, 6),
        ("2 + 2 = 4", 7, 7),
        ("お誕生日おめでとう", 8, 9),
        ("<|endoftext|>", 7, 7),  # what a user writes is text and never a control token
        ("\0", 1, 1),
        ("a" * 1_000, 125, 125),
    ],
)
def test_texts_have_the_tokens_of_the_public_vocabularies(text: str, o200k: int, cl100k: int) -> None:
    assert of_text(text) == o200k
    assert of_text(text, "gpt-4") == cl100k


@pytest.mark.parametrize(
    ("model", "tokenizer", "is_exact"),
    [
        ("gpt-4o", "o200k_base", True),
        ("GPT-4o-mini", "o200k_base", True),
        ("gpt-4.1-nano", "o200k_base", True),
        ("gpt-5-mini", "o200k_base", True),
        ("chatgpt-4o-latest", "o200k_base", True),
        ("o3", "o200k_base", True),
        ("azure/eu/o4-mini", "o200k_base", True),
        ("openai.gpt-4o", "o200k_base", True),
        ("ft:gpt-4o-mini-2024-07-18:acme::1", "o200k_base", True),
        ("gpt-4", "cl100k_base", True),
        ("gpt-4-turbo", "cl100k_base", True),
        ("openai/gpt-3.5-turbo-0125", "cl100k_base", True),
        ("azure/gpt-35-turbo", "cl100k_base", True),
        ("text-embedding-3-large", "cl100k_base", True),
        ("claude-sonnet-4-5", "o200k_base", False),
        ("gemini-2.5-pro", "o200k_base", False),
        ("mistral-large-latest", "o200k_base", False),
        ("my-gpt-4o", "o200k_base", False),
        ("", "o200k_base", False),
    ],
)
def test_each_family_has_its_vocabulary_and_the_others_an_estimate(model: str, tokenizer: str, is_exact: bool) -> None:  # noqa: FBT001
    counted = count_prompt(model, [HI])
    assert (counted.tokenizer, counted.is_exact) == (tokenizer, is_exact)


def test_claude_is_estimated_a_fifth_above_openai() -> None:
    prompt = {"role": "user", "content": "hello world " * 500}
    overhead = 3 + 3
    text = count(prompt) - overhead
    assert count(prompt, model="anthropic.claude-v2") - overhead == -(-text * 6 // 5)
    assert count(prompt, model="gemini-2.5-pro") == count(prompt)


def test_messages_and_names_have_the_published_overhead() -> None:
    assert count(HI, HI) - count(HI) == 3 + 1 + 1
    assert count({**HI, "name": "hi"}) - count(HI) == 1 + 1
    assert count({**HI, "name": None, "tool_call_id": "call_1", "cache_control": {"type": "ephemeral"}}) == count(HI)


def test_parts_of_text_count_like_the_text() -> None:
    parts = [
        {"type": "text", "text": "hi"},
        {"type": "input_text", "text": "hi"},
        {"type": "output_text", "text": "hi"},
        {"type": "refusal", "refusal": "hi"},
        {"type": "thinking", "thinking": "hi", "signature": "x"},
    ]
    for part in parts:
        assert count_prompt("gpt-4o", [{"role": "user", "content": [part]}]) == count_prompt("gpt-4o", [HI])
    assert count({"role": "user", "content": parts}) == count(HI) + 4
    assert count({"role": "user", "content": []}) == count({"role": "user", "content": None}) == count(HI) - 1
    assert count({"role": "user"}) == count(HI) - 1


@pytest.mark.parametrize(
    ("part", "size"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, 765),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}}, 765),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}, 85),
        ({"type": "image_url", "image_url": "https://example.com/a.png"}, 765),
        ({"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"}, 85),
        ({"type": "image", "source": {"type": "base64", "data": "AAAA"}}, 765),
    ],
)
def test_an_image_has_a_stated_size_and_makes_the_count_an_estimate(part: dict[str, Any], size: int) -> None:
    counted = count_prompt("gpt-4o", [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}])
    assert counted == TokenCount(8 + size, is_exact=False, tokenizer="o200k_base")


@pytest.mark.parametrize(
    "called",
    [
        {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"q": "hi"}'}}]},
        {"tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "find", "input": '{"q": "hi"}'}}]},
        {"function_call": {"name": "find", "arguments": '{"q": "hi"}'}},
        {"function_call": {"name": "find", "arguments": {"q": "hi"}}},
        {"content": [{"type": "tool_use", "id": "1", "name": "find", "input": {"q": "hi"}}]},
        {"content": [{"type": "tool_result", "tool_use_id": "1", "content": 'find{"q": "hi"}'}]},
        {"content": [{"type": "tool_result", "content": [{"type": "text", "text": 'find{"q": "hi"}'}]}]},
    ],
)
def test_calls_of_tools_count_and_make_the_count_an_estimate(called: dict[str, Any]) -> None:
    counted = count_prompt("gpt-4o", [{"role": "assistant", "content": None, **called}])
    assert counted == TokenCount(7 + of_text("find") + of_text('{"q": "hi"}'), is_exact=False, tokenizer="o200k_base")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hi", "messages.0"),
        (None, "messages.0"),
        ({}, "messages.0.role"),
        ({"role": 5}, "messages.0.role"),
        ({**HI, "name": 5}, "messages.0.name"),
        ({**HI, "content": 5}, "messages.0.content"),
        ({**HI, "content": {"text": "hi"}}, "messages.0.content"),
        ({**HI, "content": ["hi"]}, "messages.0.content.0"),
        ({**HI, "content": [{"text": "hi"}]}, "messages.0.content.0.type"),
        ({**HI, "content": [{"type": "poem"}]}, "messages.0.content.0.type"),
        ({**HI, "content": [{"type": "text"}]}, "messages.0.content.0.text"),
        ({**HI, "content": [{"type": "text", "text": None}]}, "messages.0.content.0.text"),
        ({**HI, "content": [{"type": "input_audio", "input_audio": {}}]}, "messages.0.content.0"),
        ({**HI, "content": [{"type": "file", "file": {}}]}, "messages.0.content.0"),
        ({**HI, "content": [{"type": "tool_use", "name": "f", "input": DEEP}]}, None),
        (
            {**HI, "content": [{"type": "tool_result", "content": [{"type": "tool_result", "content": ""}]}]},
            "messages.0.content.0.content.0.type",
        ),
        ({**HI, "tool_calls": {}}, "messages.0.tool_calls"),
        ({**HI, "tool_calls": [5]}, "messages.0.tool_calls.0"),
        ({**HI, "tool_calls": [{}]}, "messages.0.tool_calls.0.function"),
        ({**HI, "tool_calls": [{"function": {"arguments": ""}}]}, "messages.0.tool_calls.0.function.name"),
        ({**HI, "function_call": "auto"}, "messages.0.function_call"),
    ],
)
def test_what_cannot_be_counted_is_named(message: Any, param: str | None) -> None:
    if param is None:  # as deep as a body can be; Python may or may not be able to write it down
        _count_or_refuse([message])
        return
    with pytest.raises(InvalidError) as refused:
        count(message)
    assert refused.value.param == param
    assert refused.value.message.startswith(param)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
kinds = st.sampled_from(["text", "image_url", "image", "tool_use", "tool_result", "refusal", "file"])
keys = ("text", "refusal", "content", "name", "input", "image_url", "detail")
parts = st.fixed_dictionaries({"type": kinds}, optional=dict.fromkeys(keys, json_values)) | json_values
calls = st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": st.text(), "arguments": json_values})})
messages = st.fixed_dictionaries(
    {"role": st.text(max_size=9)},
    optional={
        "content": st.none() | st.text() | st.lists(parts, max_size=3) | json_values,
        "name": json_values,
        "tool_calls": st.lists(calls | json_values, max_size=2) | json_values,
        "function_call": json_values,
    },
)


def _count_or_refuse(given_messages: list[Any]) -> TokenCount | None:
    try:
        return count_prompt("gpt-4o", given_messages)
    except InvalidError:
        return None


@given(st.lists(messages | json_values, max_size=4))
def test_any_json_is_counted_or_refused(given_messages: list[Any]) -> None:
    counted = _count_or_refuse(given_messages)
    assert counted is None or counted.tokens >= 3 * len(given_messages) + 3


@given(st.lists(st.text(), max_size=4), st.text())
def test_more_text_never_has_fewer_tokens(texts: list[str], another: str) -> None:
    conversation = [{"role": "user", "content": text} for text in texts]
    longer = [*conversation, {"role": "user", "content": another}]
    for model in ("gpt-4o", "gpt-4", "claude-sonnet-4-5"):
        assert count_prompt(model, conversation).tokens < count_prompt(model, longer).tokens


@pytest.mark.parametrize("text", ["a", " ", "漢", "'", "1", "\n \n", "<|endoftext|>", "aB"])
def test_four_megabytes_take_no_longer_than_their_length(text: str) -> None:
    size = 4 * 1024 * 1024 // len(text.encode())
    started = time.process_time()
    assert of_text(text * size) > 0
    assert time.process_time() - started < 10  # some 0.1 s; a count whose time grows with the square takes hours


@pytest.fixture
def _no_vocabulary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where the package is not installed."""
    monkeypatch.setitem(sys.modules, "rs_bpe", None)
    token_counting._tokenizer.cache_clear()
    yield
    token_counting._tokenizer.cache_clear()


@pytest.mark.usefixtures("_no_vocabulary")
def test_a_python_without_the_vocabularies_estimates_by_bytes() -> None:
    counted = count_prompt("gpt-4o", [{"role": "user", "content": "漢字漢字 abc"}])
    assert counted == TokenCount(3 + 3 + 1 + 4, is_exact=False, tokenizer="bytes/4")
