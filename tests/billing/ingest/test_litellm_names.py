"""Service, model, key, dimensions and metadata of LiteLLM calls."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest

from billing.ingest.validate import MAX_METADATA_BYTES
from tests.billing.ingest.litellm_payloads import ANSWER, PROMPT, event_of, payload, with_metadata


def test_names_times_and_status() -> None:
    event = event_of(payload("proxy_chat"))
    assert (event.service, event.model, event.capability) == ("openai", "gpt-4o-mini", "chat")
    assert (event.kind, event.status, event.status_code) == ("model_call", "success", None)
    assert event.endpoint == "/v1/chat/completions"
    assert event.occurred_at == datetime.fromtimestamp(payload("proxy_chat")["startTime"], tz=UTC)
    assert event.duration_ms == Decimal("1169.679")


@pytest.mark.parametrize(
    ("name", "code"),
    [("failure_500", 500), ("failure_rate_limit", 429), ("failure_timeout", 408), ("router_failure", 500)],
)
def test_a_failure_keeps_its_status_and_class_and_not_its_message(name: str, code: int) -> None:
    event = event_of(payload(name))
    assert (event.status, event.status_code) == ("failure", code)
    assert event.metadata is not None
    assert event.metadata["litellm"]["error_class"] == payload(name)["error_information"]["error_class"]


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-4.5", "openrouter/anthropic/claude-sonnet-4.5"])
def test_a_model_has_one_name_with_and_without_its_provider_before_it(model: str) -> None:
    event = event_of(payload(model=model, custom_llm_provider="openrouter"))
    assert event.model == "anthropic/claude-sonnet-4.5"


@pytest.mark.parametrize(
    ("given", "service", "model"),
    [
        ("openai/gpt-4o-mini", "openai", "gpt-4o-mini"),
        ("openrouter/anthropic/claude-sonnet-4.5", "openrouter", "anthropic/claude-sonnet-4.5"),
        ("gpt-4o-mini", None, "gpt-4o-mini"),
        ("our-cluster/llama", None, "our-cluster/llama"),
        ("openai/", None, "openai/"),
        ("", None, None),
    ],
)
def test_a_provider_that_is_only_in_the_models_name_is_the_service(
    given: str, service: str | None, model: str | None
) -> None:
    event = event_of(payload(model=given, custom_llm_provider=None))
    assert (event.service, event.model) == (service, model)


@pytest.mark.parametrize(
    ("call_type", "capability"),
    [
        ("acompletion", "chat"),
        ("completion", "chat"),
        ("anthropic_messages", "chat"),
        ("aembedding", "embeddings"),
        ("atranscription", "audio"),
        ("_arealtime", "realtime"),
        ("acreate_file", "acreate_file"),
        ("", None),
    ],
)
def test_the_capability_comes_from_the_type_of_call(call_type: str, capability: str | None) -> None:
    assert event_of(payload(call_type=call_type)).capability == capability


def test_a_tool_call_names_its_tool_and_nothing_of_its_arguments() -> None:
    call = {"name": "search", "arguments": {"q": PROMPT}, "result": {"text": ANSWER}}
    record = {**with_metadata(mcp_tool_call_metadata=call), "call_type": "call_mcp_tool"}
    event = event_of(record)
    assert (event.kind, event.tool, event.capability) == ("tool_call", "search", "tools")
    assert PROMPT not in repr(event)


def test_runs_and_the_like_come_from_spend_logs_metadata() -> None:
    event = event_of(payload("openai_chat"))
    assert (event.run_id, event.parent_run_id, event.workflow_id) == ("run-7", "run-1", "nightly")
    assert (event.session_id, event.agent_name) == ("s-3", "writer")


def test_a_request_to_the_proxy_names_its_run_in_its_own_metadata() -> None:
    event = event_of(payload("proxy_chat"))
    assert event.run_id == "run-7"
    assert event.metadata is not None
    assert event.metadata["note"] == "hello"


def test_every_dimension_is_read_and_spend_logs_metadata_wins() -> None:
    names = ("execution_id", "phase_id", "workspace_id", "group_id", "group_name", "agent_id", "cost_group", "tool")
    caller_metadata = {name: f"{name} said" for name in names}
    event = event_of(
        with_metadata(
            requester_metadata={**caller_metadata, "run_id": "no"},
            spend_logs_metadata={"run_id": 42, "capability": "x"},
        )
    )
    assert {name: getattr(event, name) for name in names} == caller_metadata
    assert (event.run_id, event.capability) == ("42", "x")


def test_a_gateway_names_the_authorization_that_the_call_settles() -> None:
    authorization = UUID("0193a1f0-0000-7000-8000-000000000001")
    event = event_of(with_metadata(spend_logs_metadata={"authorization_id": str(authorization)}))
    assert event.authorization_id == authorization


@pytest.mark.parametrize("caller_metadata", ["", "mine", 7, None, ["a"], {"a": 1}])
def test_what_is_no_authorization_id_is_left_out(caller_metadata: Any) -> None:
    event = event_of(with_metadata(spend_logs_metadata={"authorization_id": caller_metadata}))
    assert event.authorization_id is None


def test_a_parent_without_a_run_is_left_out() -> None:
    event = event_of(with_metadata(spend_logs_metadata={"parent_run_id": "run-1"}))
    assert event.parent_run_id is None


def test_the_session_comes_from_wherever_litellm_distinguishes_it_from_a_trace() -> None:
    assert event_of(payload("session_correlated")).session_id == "conversation-9"
    assert event_of(payload("proxy_session")).session_id == "sess-1"
    unknown = event_of(payload("session"))
    assert unknown.session_id is None
    assert unknown.metadata is not None
    assert unknown.metadata["litellm"]["trace_id"] == "conversation-9"


def test_keys_and_teams_stand_in_the_metadata() -> None:
    event = event_of(payload("virtual_key"))
    assert event.metadata is not None
    fields = event.metadata["litellm"]
    assert fields["api_key_hash"] == "a" * 64
    assert (fields["api_key_alias"], fields["team_id"], fields["team_alias"]) == ("team-key", "team-1", "Search")


def test_a_key_that_litellm_does_not_know_is_not_stored() -> None:
    record = payload("proxy_unknown_key")
    assert record["metadata"]["user_api_key_hash"] == "wrong"
    event = event_of(record)
    assert event.metadata is not None
    assert "api_key_hash" not in event.metadata["litellm"]


def test_tags_are_texts_each_once_and_at_most_fifty() -> None:
    event = event_of(payload(request_tags=["a", 7, "a", None, {"b": 1}, "", *map(str, range(100, 200))]))
    assert event.tags is not None
    assert event.tags[:3] == ["a", "7", "100"]
    assert len(event.tags) == 50
    assert event_of(payload(request_tags="a")).tags is None


def test_headers_and_what_the_proxy_adds_are_not_stored() -> None:
    event = event_of(payload("proxy_chat"))
    assert event.metadata is not None
    assert set(event.metadata) == {"litellm", "note"}


def test_the_callers_metadata_is_stored_up_to_its_limit() -> None:
    deep: list[Any] = []
    for _ in range(40):
        deep = [deep]
    caller_metadata = {
        "small": "x",
        "huge": "y" * 5000,
        "nested": {"answer": [1, 2.5, None]},
        "litellm": "mine",
        "deep": deep,
    }
    event = event_of(with_metadata(spend_logs_metadata=caller_metadata))
    assert event.metadata is not None
    assert event.metadata["small"] == "x"
    assert event.metadata["nested"] == {"answer": [1, 2.5, None]}
    assert set(event.metadata) == {"litellm", "small", "nested"}
    assert isinstance(event.metadata["litellm"], dict)


def test_metadata_of_any_size_fits() -> None:
    wide = "\N{GRINNING FACE}" * 300
    record = with_metadata(
        spend_logs_metadata={f"{wide}{number}": wide for number in range(40)},
        user_api_key_alias=wide,
        user_api_key_team_id=wide,
        user_api_key_team_alias=wide,
        user_api_key_org_id=wide,
        user_api_key_project_id=wide,
    )
    event = event_of({**record, "model_group": wide, "model_id": wide, "trace_id": wide})
    assert 3000 < len(msgspec.json.encode(event.metadata)) <= MAX_METADATA_BYTES
