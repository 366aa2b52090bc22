"""Prompts in LiteLLM payloads are never stored, and odd records do not break the endpoint."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.ingest import litellm
from billing.ingest.usage.types import LARGEST_COUNT
from tests.billing.ingest.litellm_payloads import (
    ANSWER,
    NAMES,
    NOW,
    PROMPT,
    event_of,
    fault_of,
    parse_one,
    parsed_one,
    payload,
    with_metadata,
)
from tests.profiles import examples

# --- Prompts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_prompt_and_no_answer_comes_through(name: str) -> None:
    text = json.dumps(payload(name))
    assert PROMPT in text or ANSWER in text or not payload(name)["messages"]
    assert "neutral" not in repr(event_of(payload(name)))


def test_a_copy_of_the_payload_in_the_callers_metadata_loses_its_prompts() -> None:
    event = event_of(with_metadata(spend_logs_metadata={"copy": [payload("failure_500")], "run_id": "r"}))
    assert "neutral" not in repr(event)


@pytest.mark.parametrize("name", NAMES)
def test_what_may_be_stored_of_a_record_has_no_prompts_and_is_the_same_event(name: str) -> None:
    record = json.dumps(payload(name)).encode()
    stored = litellm.without_prompts(record)
    assert b"neutral" not in stored
    assert b"curl/" not in stored.replace(b"User-Agent: curl/", b"")
    assert event_of(stored) == event_of(record)


def test_nothing_is_stored_of_fields_that_should_be_objects_and_are_text() -> None:
    spoiled = dict.fromkeys(("metadata", "model_parameters", "error_information"), PROMPT)
    stored = json.loads(litellm.without_prompts(json.dumps(payload(**spoiled, end_user=[PROMPT])).encode()))
    assert PROMPT not in json.dumps(stored)
    assert fault_of(json.dumps(stored).encode()).field == "metadata"


@pytest.mark.parametrize("record", [b"", b"null", b"[1]", b'"text"', b"{", b"\xff", b'{"a":' * 5000])
def test_nothing_is_stored_of_what_is_not_an_object(record: bytes) -> None:
    assert litellm.without_prompts(record) == b""


@pytest.mark.parametrize(
    ("address", "host"),
    [
        (
            "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent?key=s3cret",
            "generativelanguage.googleapis.com",
        ),
        ("https://user:s3cret@proxy.example:8443/v1?x=s3cret", "proxy.example"),
        ("us-east5-aiplatform.googleapis.com", "us-east5-aiplatform.googleapis.com"),
        (17, None),
    ],
)
def test_only_the_host_of_an_address_is_stored_because_the_rest_can_have_a_key(address: Any, host: str | None) -> None:
    stored = json.loads(litellm.without_prompts(json.dumps(payload(api_base=address)).encode()))
    assert stored["api_base"] == host


# --- Odd records -----------------------------------------------------------------------------------------------


def test_nulls_in_the_queue_are_neither_events_nor_errors() -> None:
    batch = litellm.parse([b"null", json.dumps(payload()).encode(), b" null "], now=NOW)
    assert ([parsed.index for parsed in batch.events], batch.errors) == ([1], [])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"response_cost": 1e300}, "cost_usd"),
        ({"response_cost": {"usd": 1}}, "response_cost"),
        ({"startTime": 1e300}, "startTime"),
        ({"startTime": -1e12}, "startTime"),
        ({"startTime": 0}, "startTime"),
        ({"startTime": 1_800_000_000}, "startTime"),
        ({"startTime": "yesterday"}, "startTime"),
        ({"metadata": "text"}, "metadata"),
        ({"model": 5}, "model"),
        ({"status": {}}, "status"),
        ({"cache_hit": "perhaps"}, "cache_hit"),
    ],
)
def test_a_record_that_cannot_be_right_is_refused_by_field(changes: dict[str, Any], field: str) -> None:
    fault = fault_of(payload(**changes))
    assert (fault.index, fault.id, fault.field) == (0, "chatcmpl-0001", field)
    assert PROMPT not in fault.message


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_tokens": -1},
        {"prompt_tokens": "-1"},
        {"prompt_tokens": 1.5},
        {"prompt_tokens": "many"},
        {"prompt_tokens": [1]},
        {"completion_tokens": LARGEST_COUNT + 1},
        {"prompt_tokens": None, "metadata": {"usage_object": {"prompt_tokens": -1, "completion_tokens": 5}}},
    ],
)
def test_a_call_whose_counts_are_no_counts_is_recorded_without_them(changes: dict[str, Any]) -> None:
    parsed = parsed_one(payload(response_cost=0, **changes))
    assert parsed.reading is not None
    assert parsed.reading.reason is not None
    assert (parsed.event.input_tokens, parsed.event.output_tokens) == (None, None)
    assert parsed.event.usage == parsed.reading.raw


@pytest.mark.parametrize(
    "changes",
    [
        {"endTime": None},
        {"endTime": 0},
        {"endTime": 1e300},
        {"end_user": {"a": 1}},
        {"end_user": 5},
        {"trace_id": ["x"]},
        {"request_tags": {"a": 1}},
        {"model_group": False},
        {"unknown": {"new": "field"}},
        {"prompt_tokens": "11"},
        {"prompt_tokens": 11.0},
        {"id": "x" * 100_000},
        {"model": "m" * 1000},
        {"status": "sideways"},
        {"messages": "\ud83d cut inside an emoji"},
        {"response": {"logprobs": [float("-inf"), float("nan")]}},
    ],
)
def test_oddities_beside_the_point_do_not_lose_a_call(changes: dict[str, Any]) -> None:
    event = event_of(payload(**changes))
    assert (event.cost_usd, event.input_tokens, event.run_id) == (Decimal("0.00000585"), 11, "run-7")


def test_a_cost_that_is_not_a_number_is_unknown() -> None:
    assert event_of(payload(response_cost=float("nan"))).cost_usd is None


def test_text_that_postgresql_cannot_hold_is_repaired() -> None:
    caller_metadata = {"run_id": "run\0-7", "no\0te": ["a\0b"], "half": "\ud83d"}
    event = event_of(with_metadata(spend_logs_metadata=caller_metadata))
    assert event.run_id == "run-7"
    assert event.metadata is not None
    assert event.metadata["note"] == ["ab"]
    assert event.metadata["half"] == "?"


def test_a_record_that_says_nothing_but_its_id_is_an_event_of_which_nothing_is_known() -> None:
    event = event_of({"id": "x"})
    assert (event.id, event.occurred_at, event.model, event.cost_usd, event.metadata) == ("x", *(None,) * 4)


def test_a_record_without_id_call_type_and_model_is_no_call() -> None:
    assert fault_of(b'{"events": []}').code == "no_payload"


def test_deep_nesting_is_refused_where_it_is_read_and_ignored_where_it_is_not() -> None:
    deep = b'{"a":' * 700 + b"1" + b"}" * 700
    assert fault_of(b'{"id": "x", "metadata": {"spend_logs_metadata": ' + deep + b"}}").code == "malformed"
    assert event_of(b'{"id": "x", "messages": ' + deep + b"}").id == "x"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=8,
)
_fields = st.sampled_from([*payload(), *payload()["metadata"]])


@examples(300)
@given(changes=st.dictionaries(_fields, _json, max_size=6))
def test_with_any_value_of_a_field_the_record_is_an_event_or_refused(changes: dict[str, Any]) -> None:
    changed_metadata = {name: value for name, value in changes.items() if name in payload()["metadata"]}
    record = json.dumps({**with_metadata(**changed_metadata), **changes}).encode()
    parse_one(record)
    stored = litellm.without_prompts(record)
    assert stored
    assert "neutral" not in stored.decode()
