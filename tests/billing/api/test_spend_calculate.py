"""Document 004: `POST /spend/calculate`."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from billing.models import IngestBatch, UsageEvent
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.profiles import examples
from tests.usage import Send, set_price

PATH = "/spend/calculate"
HI = [{"role": "user", "content": "hi"}]
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1760000000,
    "model": "gpt-3.5-turbo-0125",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
}


@pytest.fixture(autouse=True)
def _prices(db: None) -> None:
    """Everyone's."""
    set_price("gpt-4o", provider="openai", input="2.5", output="10", cache_read="1.25")
    set_price("gpt-3.5-turbo-0125", provider="openai", input="0.5", output="1.5")
    caches = {"cache_read": "0.3", "cache_creation": "3.75", "cache_creation_1h": "6"}
    set_price("claude-sonnet-4-5", provider="anthropic", organization=None, input="3", output="15", **caches)
    set_price("gemini-2.5-flash", provider="google", input="0.3", output="2.5", cache_read="0.03", audio_input="1")
    set_price("only-output", output="1")


def calculate(api: APIClient, **body: Any) -> Any:
    return api.post(PATH, body)


def cost_of(api: APIClient, response: dict[str, Any]) -> Decimal:
    answer = calculate(api, completion_response=response)
    assert answer.status_code == 200, answer.content
    assert answer["X-Costtrack-Token-Count"] == "reported"
    assert "X-Costtrack-Tokenizer" not in answer
    exact = Decimal(answer["X-Costtrack-Cost"])
    assert answer.json() == {"cost": float(exact)}
    return exact


# --- Before the call -------------------------------------------------------------------------------------------


def test_a_prompt_costs_its_tokens_at_the_input_price(api: APIClient) -> None:
    response = calculate(api, model="gpt-4o", messages=HI)

    assert response.status_code == 200
    assert response.json() == {"cost": 0.00002}
    assert isinstance(response.json()["cost"], float)
    assert response["X-Costtrack-Cost"] == "0.00002"
    assert response["X-Costtrack-Tokens"] == "8"
    assert response["X-Costtrack-Token-Count"] == "exact"
    assert response["X-Costtrack-Tokenizer"] == "o200k_base"


def test_a_model_without_a_public_vocabulary_is_said_to_be_estimated(api: APIClient) -> None:
    response = calculate(api, model="claude-sonnet-4-5", messages=HI)

    assert response["X-Costtrack-Token-Count"] == "estimated"
    assert response["X-Costtrack-Cost"] == str(3 * Decimal(response["X-Costtrack-Tokens"]) / 1_000_000)


def test_parts_tools_and_null_content_are_understood(api: APIClient) -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "a cat"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}]},
    ]
    response = calculate(api, model="gpt-4o", messages=messages)
    assert response.status_code == 200
    assert int(response["X-Costtrack-Tokens"]) > 765
    assert response["X-Costtrack-Token-Count"] == "estimated"


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o", "azure/gpt-4o", "openai.gpt-4o", "litellm_proxy/openai/gpt-4o", "GPT-4o", " gpt-4o "]
)
def test_a_model_may_be_named_with_its_provider(api: APIClient, model: str) -> None:
    set_price("openai.gpt-4o", input="2.5")
    set_price("openai/gpt-4o", provider="litellm_proxy", input="2.5")
    assert calculate(api, model=model, messages=HI).json() == {"cost": 0.00002}


def test_a_server_of_ones_own_is_found_as_the_intake_of_litellm_names_it(
    api: APIClient, organization: Organization
) -> None:
    assert calculate(api, model="our-cluster/llama", messages=HI).status_code == 400
    set_price("llama", provider="our-cluster", organization=organization, input="1")
    assert calculate(api, model="our-cluster/llama", messages=HI).status_code == 200


def test_the_organizations_own_price_holds(api: APIClient, other_api: APIClient, organization: Organization) -> None:
    set_price("gpt-4o", provider="openai", organization=organization, input="1000")
    assert calculate(api, model="gpt-4o", messages=HI).json() == {"cost": 0.008}
    assert calculate(other_api, model="gpt-4o", messages=HI).json() == {"cost": 0.00002}


def test_the_model_wins_when_both_are_given(api: APIClient) -> None:
    both = calculate(api, model="gpt-4o", messages=HI, completion_response=CHAT)
    assert both.json() == {"cost": 0.00002}
    nulls = {"model": None, "messages": None, "completion_response": CHAT}
    assert calculate(api, **nulls).json() == calculate(api, completion_response=CHAT, messages=HI).json()


def test_a_long_prompt_fits_and_an_endless_one_is_refused(api: APIClient) -> None:
    long = calculate(api, model="gpt-4o", messages=[{"role": "user", "content": "word " * 700_000}])
    assert long.status_code == 200
    assert int(long["X-Costtrack-Tokens"]) > 700_000
    endless = calculate(api, model="gpt-4o", messages=[{"role": "user", "content": "word " * 900_000}])
    assert (endless.status_code, endless.json()["error"]["code"]) == (413, "413")


# --- After the call --------------------------------------------------------------------------------------------


def test_a_chat_completion_costs_its_prompt_and_its_answer(api: APIClient) -> None:
    response = calculate(api, completion_response=CHAT)
    assert response.json() == {"cost": 0.0000225}
    assert response["X-Costtrack-Tokens"] == "21"


RESPONSES: dict[str, tuple[dict[str, Any], str]] = {
    "openai chat with cached tokens": (
        {
            "model": "gpt-4o",
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 100,
                "prompt_tokens_details": {"cached_tokens": 600},
            },
        },
        "0.00275",  # 400 x 2.5 + 600 x 1.25 + 100 x 10
    ),
    "openai responses": (
        {
            "object": "response",
            "model": "gpt-4o-2024-08-06",
            "usage": {
                "input_tokens": 1000,
                "input_tokens_details": {"cached_tokens": 600},
                "output_tokens": 100,
                "output_tokens_details": {"reasoning_tokens": 50},
            },
        },
        "0.00275",
    ),
    "anthropic messages": (
        {
            "type": "message",
            "model": "claude-sonnet-4-5",
            "usage": {
                "input_tokens": 100,
                "cache_creation_input_tokens": 1000,
                "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
                "cache_read_input_tokens": 5000,
                "output_tokens": 20,
            },
        },
        "0.0072",  # 100 x 3 + 400 x 3.75 + 600 x 6 + 5000 x 0.3 + 20 x 15
    ),
    "anthropic through litellm": (
        {
            "object": "chat.completion",
            "model": "claude-sonnet-4-5",
            "usage": {
                "prompt_tokens": 6100,
                "completion_tokens": 20,
                "total_tokens": 6120,
                "cache_creation_input_tokens": 1000,
                "cache_read_input_tokens": 5000,
                "prompt_tokens_details": {
                    "cached_tokens": 5000,
                    "cache_creation_tokens": 1000,
                    "cache_creation_token_details": {
                        "ephemeral_5m_input_tokens": 400,
                        "ephemeral_1h_input_tokens": 600,
                    },
                },
            },
        },
        "0.0072",
    ),
    "gemini": (
        {
            "candidates": [],
            "modelVersion": "gemini-2.5-flash",
            "usageMetadata": {
                "promptTokenCount": 1000,
                "cachedContentTokenCount": 600,
                "candidatesTokenCount": 100,
                "thoughtsTokenCount": 200,
                "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}],
            },
        },
        "0.000923",  # 350 x 0.3 + 50 x 1 + 600 x 0.03 + 300 x 2.5
    ),
    "gemini's python client": (
        {
            "model_version": "gemini-2.5-flash",
            "usage_metadata": {"prompt_token_count": 1000, "candidates_token_count": 100},
        },
        "0.00055",
    ),
    "nothing used": ({"model": "gpt-4o", "usage": {"prompt_tokens": 0, "completion_tokens": 0}}, "0"),
}


@pytest.mark.parametrize(("response", "cost"), RESPONSES.values(), ids=RESPONSES.keys())
def test_each_providers_answer_is_read_and_cached_tokens_have_their_price(
    api: APIClient, response: dict[str, Any], cost: str
) -> None:
    assert cost_of(api, response) == Decimal(cost)


counts = st.integers(0, 10**9)
usages = st.one_of(
    st.tuples(counts, counts, counts, counts).map(
        lambda n: {
            "prompt_tokens": n[0] + n[1],
            "completion_tokens": n[2] + n[3],
            "prompt_tokens_details": {"cached_tokens": n[1]},
            "completion_tokens_details": {"reasoning_tokens": n[3]},
        }
    ),
    st.tuples(counts, counts, counts, counts).map(
        lambda n: {
            "input_tokens": n[0],
            "cache_read_input_tokens": n[1],
            "cache_creation_input_tokens": n[2],
            "output_tokens": n[3],
        }
    ),
    st.tuples(counts, counts, counts).map(
        lambda n: {
            "prompt_tokens": n[0] + n[1],
            "completion_tokens": n[2],
            "cache_creation_input_tokens": n[1],
        }
    ),
    st.tuples(counts, counts, counts).map(
        lambda n: {"promptTokenCount": n[0] + n[1], "cachedContentTokenCount": n[1], "thoughtsTokenCount": n[2]}
    ),
)
models = st.sampled_from(["gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", "anthropic/claude-sonnet-4-5"])


@examples(60)
@given(model=models, usage=usages)
def test_a_response_costs_what_it_costs_when_it_is_ingested(api: APIClient, model: str, usage: dict[str, Any]) -> None:
    sent = api.post("/usage/events", {"model": model, "usage": usage})
    assert sent.status_code == 200, sent.content
    row = UsageEvent.objects.latest("id")

    name = "usageMetadata" if "promptTokenCount" in usage else "usage"
    response = calculate(api, completion_response={"model": model, name: usage})

    assert row.token_cost_usd is not None
    assert Decimal(response["X-Costtrack-Cost"]) == row.token_cost_usd


def test_nothing_is_written(api: APIClient) -> None:
    calculate(api, model="gpt-4o", messages=HI)
    calculate(api, completion_response=CHAT)
    calculate(api, model="unheard-of", messages=HI)
    assert UsageEvent.objects.count() == 0
    assert IngestBatch.objects.count() == 0


# --- What is refused -------------------------------------------------------------------------------------------


def with_usage(**usage: Any) -> dict[str, Any]:
    return {"completion_response": {"model": "gpt-4o", "usage": usage}}


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "model"),
        ({"model": None, "messages": None, "completion_response": None}, 400, "model"),
        ({"messages": HI}, 400, "model"),
        ({"model": "gpt-4o"}, 400, "messages"),
        ({"model": "gpt-4o", "messages": None}, 400, "messages"),
        ({"model": "gpt-4o", "completion_response": CHAT}, 400, "messages"),
        ({"model": "gpt-4o", "messages": []}, 422, "messages"),
        ({"model": "gpt-4o", "messages": "hi"}, 422, "messages"),
        ({"model": "gpt-4o", "messages": {"role": "user"}}, 422, "messages"),
        ({"model": "gpt-4o", "messages": ["hi"]}, 422, "messages.0"),
        ({"model": "gpt-4o", "messages": [*HI, {"role": "user", "content": 5}]}, 422, "messages.1.content"),
        ({"model": "", "messages": HI}, 422, "model"),
        ({"model": 5.5, "messages": [5]}, 422, "model"),
        ({"model": ["gpt-4o"], "messages": HI}, 422, "model"),
        ({"model": True, "messages": HI}, 422, "model"),
        ({"model": "a\0b", "messages": HI}, 422, "model"),
        ({"model": "x" * 256, "messages": HI}, 422, "model"),
        ({"model": "gpt-4o", "messages": HI, "tools": []}, 422, "tools"),
        ({"completion_response": []}, 422, "completion_response"),
        ({"completion_response": "x"}, 422, "completion_response"),
        ({"completion_response": {}}, 400, "completion_response.model"),
        ({"completion_response": {"usage": CHAT["usage"]}}, 400, "completion_response.model"),
        ({"completion_response": {"model": "", "usage": CHAT["usage"]}}, 400, "completion_response.model"),
        ({"completion_response": {"model": 5, "usage": CHAT["usage"]}}, 422, "completion_response.model"),
        ({"completion_response": {"modelVersion": "x" * 256}}, 422, "completion_response.modelVersion"),
        ({"completion_response": {"model": "gpt-4o"}}, 400, "completion_response.usage"),
        ({"completion_response": {"model": "gpt-4o", "usage": None}}, 400, "completion_response.usage"),
        ({"completion_response": {"model": "gpt-4o", "usage": [1]}}, 422, "completion_response.usage"),
        ({"completion_response": {"model": "g", "usageMetadata": {"x": 1}}}, 422, "completion_response.usageMetadata"),
        (with_usage(tokens=5), 422, "completion_response.usage"),
        (with_usage(prompt_tokens="9", completion_tokens=1), 422, "completion_response.usage"),
        (with_usage(prompt_tokens=-9, completion_tokens=1), 422, "completion_response.usage"),
        (with_usage(prompt_tokens=10**13, completion_tokens=1), 422, "completion_response.usage"),
        (with_usage(prompt_tokens=10**400, completion_tokens=1), 422, "completion_response.usage"),
        (with_usage(prompt_tokens=1, completion_tokens=1, cache_creation_input_tokens="x"), 422, None),
        (
            with_usage(prompt_tokens=1, completion_tokens=1, prompt_tokens_details={"cached_tokens": 2}),
            422,
            "completion_response.usage",
        ),
        (
            with_usage(prompt_tokens=1, completion_tokens=1, completion_tokens_details={"reasoning_tokens": 2}),
            422,
            "completion_response.usage",
        ),
    ],
)
def test_bad_input_is_named_in_the_familys_dialect(
    api: APIClient, body: dict[str, Any], status: int, param: str | None
) -> None:
    response = calculate(api, **body)
    assert response.status_code == status, response.content
    error = response.json()["error"]
    assert error["param"] == (param or "completion_response.usage")
    assert (error["type"], error["code"]) == ("bad_request", str(status))
    assert error["message"]


def test_the_messages_of_litellm_are_unchanged(api: APIClient) -> None:
    def message(**body: Any) -> str:
        said: str = calculate(api, **body).json()["error"]["message"]
        return said

    assert "messages must be provided if 'model' is provided" in message(model="gpt-4o")
    assert "Either 'model' or 'completion_response' must be provided" in message()


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"5", b"null", b"{", b'{"model": NaN}', b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(api: APIClient, body: bytes) -> None:
    response = api.post(PATH, data=body, content_type="application/json")
    assert response.status_code in (400, 422)
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "body",
    [
        {"model": "unheard-of", "messages": HI},
        {"model": "hosted_vllm/gpt-4o", "messages": HI},
        {"model": "/", "messages": HI},
        {"completion_response": {**CHAT, "model": "unheard-of"}},
        {"completion_response": {**CHAT, "model": "a\0b"}},
        {"model": "only-output", "messages": HI},
        {"completion_response": {**CHAT, "model": "only-output"}},
    ],
)
def test_a_model_without_a_price_is_an_error_and_not_free(api: APIClient, body: dict[str, Any]) -> None:
    response = calculate(api, **body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("model_not_priced", "model", "400")
    assert body.get("model", "") in error["message"]


def test_a_model_that_is_free_costs_nothing(api: APIClient, organization: Organization) -> None:
    set_price("ours", organization=organization, input="0", output="0")
    assert calculate(api, model="ours", messages=HI).json() == {"cost": 0.0}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["gpt-4o", "claude-sonnet-4-5", "only-output", "unheard-of"])
parts = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "tool_use"]), "text": st.text()})
messages = st.fixed_dictionaries({"role": st.text(), "content": st.text() | st.lists(parts) | json_values})
details = st.dictionaries(st.sampled_from(["cached_tokens", "cache_creation_tokens"]), json_values)
usage_keys = ["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "cache_creation_input_tokens"]
made_up_usages = st.dictionaries(st.sampled_from(usage_keys), st.integers(0, 99) | json_values) | st.fixed_dictionaries(
    {"prompt_tokens": st.integers(), "completion_tokens": st.integers(), "prompt_tokens_details": details}
)
responses = st.fixed_dictionaries(
    {}, optional={"model": names | json_values, "usage": made_up_usages | json_values, "usageMetadata": json_values}
)
bodies = json_values | st.fixed_dictionaries(
    {},
    optional={
        "model": names | json_values,
        "messages": st.lists(messages | json_values) | json_values,
        "completion_response": responses | json_values,
    },
)


@examples(200)
@given(body=bodies)
def test_any_json_is_answered_or_refused(api: APIClient, body: Any) -> None:
    sent = json.dumps(body).replace("Infinity", "1e999")
    response = api.post(PATH, sent, content_type="application/json")
    assert response.status_code in (200, 400, 422), response.content
    if response.status_code == 200:
        assert response.json()["cost"] >= 0
    else:
        assert set(response.json()["error"]) == {"message", "type", "param", "code"}


# --- Who may ---------------------------------------------------------------------------------------------------


def test_who_may_calculate(organization: Organization, owner: User, viewer: User, stranger: User) -> None:
    body = {"model": "gpt-4o", "messages": HI}
    assert APIClient().post(PATH, body).status_code == 401
    assert make_key(organization, Scope.USAGE_WRITE).client().post(PATH, body).status_code == 403
    assert make_key(organization, Scope.COSTS_READ).client().post(PATH, body).status_code == 200
    for user in (owner, viewer, stranger):
        browser = Client()
        browser.force_login(user)
        assert browser.post(PATH, body, content_type="application/json").status_code == 200
        assert browser.post(f"{PATH}?organization=nobody", body, content_type="application/json").status_code == 404
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner)
    assert strict.post(PATH, body, content_type="application/json").status_code == 403


def test_a_plan_without_api_says_what_would_allow_it(api: APIClient, organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    response = calculate(api, model="gpt-4o", messages=HI)
    assert response.status_code == 403
    assert "Pay as you go" in response.json()["error"]["message"]


def test_the_number_of_queries_is_fixed(
    api: APIClient, send: Send, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(2):
        calculate(api, model="gpt-4o", messages=HI)

    # The credential's version; the tenant scope, in a savepoint here: begin, enter, leave, end; the prices' revision.
    with django_assert_num_queries(1 + 4 + 1):
        calculate(api, model="gpt-4o", messages=HI * 50)
    with django_assert_num_queries(1 + 4 + 1):
        calculate(api, completion_response=CHAT)


def test_details_say_which_cost_counts_and_why(api: APIClient) -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100, "cost": 0.5}
    body = {
        "provider": "openrouter",
        "details": True,
        "completion_response": {"model": "openai/gpt-4o", "usage": usage},
    }
    details = api.post("/spend/calculate", body).json()["details"]
    assert (details["cost_basis"], details["cost_why"]) == ("provider", "the provider's own bill")
    assert {"basis": "provider", "amount_usd": "0.5", "counts": True} in details["known_costs"]
    assert details["list_cost_usd"] == "0.5"


def test_details_have_the_lines_of_the_list_under_an_agreement(api: APIClient) -> None:
    terms = {"provider": "*", "discount_percent": "10"}
    assert api.post("/organizations/acme/agreements", terms).status_code == 201
    response = {"model": "gpt-4o", "usage": {"prompt_tokens": 1_000, "completion_tokens": 0}}
    details = api.post("/spend/calculate", {"details": True, "completion_response": response}).json()["details"]
    (line,) = details["lines"]
    assert Decimal(line["amount_usd"]) == Decimal(line["list_amount_usd"]) * Decimal("0.9")
    assert Decimal(details["list_cost_usd"]) == Decimal(line["list_amount_usd"])
