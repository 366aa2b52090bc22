"""The user of a LiteLLM call: from LiteLLM's database first, then from the caller's fields in a fixed order."""

import json
from typing import Any

import pytest

from billing.ingest import litellm
from tests.billing.ingest.litellm_payloads import event_of, payload, with_metadata

# Every field that can name a user, in order of precedence.
USER_FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("user_api_key_user_id", "by key", "by key"),
    ("spend_logs_metadata", {"user_id": "by spend logs"}, "by spend logs"),
    ("requester_metadata", {"user_id": "by metadata"}, "by metadata"),
    ("requester_custom_headers", {"x-costtrack-user": "by header"}, "by header"),
)
PROXY = [
    "proxy_batch_poll",
    "proxy_batch_poll_again",
    "proxy_chat",
    "proxy_client_left",
    "proxy_embedding_failed",
    "proxy_embedding_fallback",
    "proxy_moderation",
    "proxy_responses",
    "proxy_session",
]


def marked(record: dict[str, Any]) -> bytes:
    return litellm.mark_end_user_as_user(json.dumps(record).encode())


@pytest.mark.parametrize("first", range(len(USER_FIELDS)))
def test_the_first_field_that_names_a_user_counts(first: int) -> None:
    event = event_of(with_metadata(**{name: value for name, value, _ in USER_FIELDS[first:]}))
    assert event.user_id == USER_FIELDS[first][2]


@pytest.mark.parametrize("empty", ["", None, "default_user_id", "litellm_proxy_master_key", ["ada"], {"a": 1}, True])
@pytest.mark.parametrize("first", range(len(USER_FIELDS)))
def test_a_field_that_names_no_user_leaves_it_to_the_next(first: int, empty: Any) -> None:
    names_nobody = (
        (name, empty if first == 0 else dict.fromkeys(value, empty))
        for name, value, _ in USER_FIELDS[first : first + 1]
    )
    others = ((name, value) for name, value, _ in USER_FIELDS[first + 1 :])
    event = event_of(with_metadata(**dict([*names_nobody, *others])))
    assert event.user_id == (USER_FIELDS[first + 1][2] if first + 1 < len(USER_FIELDS) else None)


@pytest.mark.parametrize("name", PROXY)
def test_a_call_with_the_master_key_has_no_user_of_its_own(name: str) -> None:
    assert payload(name)["metadata"]["user_api_key_user_id"] == "default_user_id"
    assert event_of(payload(name)).user_id is None


def test_what_the_caller_says_beside_the_keys_user_stays_in_the_metadata() -> None:
    event = event_of(with_metadata(user_api_key_user_id="u-1", spend_logs_metadata={"user_id": "ada"}))
    assert event.user_id == "u-1"
    assert event.metadata is not None
    assert event.metadata["user_id"] == "ada"


def test_no_header_but_the_users_is_read_or_stored() -> None:
    headers = {"x-costtrack-user": "ada", "x-secret": "something"}
    record = json.dumps(with_metadata(requester_custom_headers=headers)).encode()
    stored = litellm.without_prompts(record)
    assert b"something" not in stored
    assert "something" not in repr(event_of(record))
    assert event_of(stored).user_id == event_of(record).user_id == "ada"


@pytest.mark.parametrize(
    "changes",
    [
        {"call_type": "anthropic_messages"},
        {"user_api_key_request_route": "/v1/messages"},
        {"user_api_key_request_route": "/anthropic/v1/messages"},
    ],
)
def test_the_user_of_anthropics_messages_api_is_an_end_user(changes: dict[str, str]) -> None:
    """It is the provider's parameter, as `user` is OpenAI's; Claude Code puts a name of each session there."""
    record = with_metadata(
        name="openai_chat",
        requester_metadata={"user_id": "session-1"},
        requester_custom_headers={"x-costtrack-user": "ada"},
        user_api_key_end_user_id="session-1",
        **changes,
    )
    event = event_of({**record, **changes})
    assert (event.user_id, event.end_user) == ("ada", "session-1")


def test_end_users_come_from_litellm_and_else_from_the_caller() -> None:
    assert event_of(payload("virtual_key")).end_user == "customer-5"
    assert event_of(payload("openai_chat")).end_user == "user-7"
    assert event_of(payload("gemini", model_parameters={"user": "litellm_proxy_master_key"})).end_user is None
    caller_metadata = {"spend_logs_metadata": {"end_user": "c-1"}}
    assert event_of(with_metadata("gemini", **caller_metadata)).end_user == "c-1"
    assert event_of(with_metadata("openai_chat", **caller_metadata)).end_user == "user-7"


def test_the_end_user_is_the_user_only_where_it_is_marked_and_no_other_is_known() -> None:
    assert event_of(payload("openai_chat")).user_id is None
    event = event_of(marked(payload("openai_chat")))
    assert (event.user_id, event.end_user) == ("user-7", "user-7")
    for name, value, user in USER_FIELDS:
        assert event_of(marked(with_metadata(**{name: value}))).user_id == user


def test_the_mark_changes_nothing_else_of_a_record() -> None:
    assert json.loads(marked({})) == {"end_user_as_user": True}
    assert json.loads(marked(payload())) == {**payload(), "end_user_as_user": True}
    for record in (b"null", b"[1]", b'"text"', b"", b"{"):
        assert litellm.mark_end_user_as_user(record) in (record, b'{"end_user_as_user":true,')
