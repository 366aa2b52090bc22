"""Document 000: `POST /system/pricing`."""

import re
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.reports.pricing.run_filter import ModelKey
from billing.reports.pricing.uuids import agent_uuid, model_uuid
from billing.rollups.fold import fold_organization
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

PATH = "/system/pricing"
GPT = ModelKey("openai", "gpt-4o")
OPUS = ModelKey("anthropic", "claude-3-opus")
NO_FACET = {"visible": False, "disabled": False}


def call(cost: str, day: str = "2025-01-15", model: ModelKey = GPT, **fields: Any) -> dict[str, Any]:
    at = day if "T" in day else f"{day}T12:00:00Z"
    return {"service": model.service, "model": model.model, "cost_usd": cost, "occurred_at": at, **fields}


def uuid(model: ModelKey) -> str:
    return str(model_uuid(model))


def ask(api: APIClient, **body: Any) -> Any:
    response = api.post(PATH, body)
    assert response.status_code == 200, response.content
    return response.json()


def costs(answer: Any) -> dict[tuple[str, str | None], tuple[str, int]]:
    return {
        (entry["date_key"], entry["model_id"]): (entry["total_cost"], entry["run_count"]) for entry in answer["daily"]
    }


def test_it_answers_like_the_document(api: APIClient, send: Send) -> None:
    send(
        *(call("0.003", agent_id="agent-1", agent_name="Student persona") for _ in range(4)),
        call("0.0003", agent_id="agent-1", model=OPUS),
    )
    gpt, opus, agent = uuid(GPT), uuid(OPUS), str(agent_uuid("agent-1"))

    assert ask(api, start_date="2025-01-01", end_date="2025-01-31") == {
        "daily": sorted(
            [
                {"date_key": "2025-01-15", "model_id": gpt, "total_cost": "0.012", "run_count": 4},
                {"date_key": "2025-01-15", "model_id": opus, "total_cost": "0.0003", "run_count": 1},
            ],
            key=lambda item: str(item["model_id"]),
        ),
        "resources": {
            "agents": {agent: {"name": "Student persona"}},
            "models": {gpt: {"name": "gpt-4o"}, opus: {"name": "claude-3-opus"}},
        },
        "model_options": [
            {"value": opus, "label": "claude-3-opus", "count": 1},
            {"value": gpt, "label": "gpt-4o", "count": 4},
        ],
        "agent_options": [{"value": agent, "label": "Student persona", "count": 5}],
        "total_count": 5,
        "analytics": {
            "fields": {
                "date_range": {"visible": True, "disabled": False},
                "departments": NO_FACET,
                "cohorts": NO_FACET,
                "roles": NO_FACET,
                "attempts": NO_FACET,
            },
            "department_options": [],
            "cohort_options": [],
            "role_options": [],
            "attempt_options": [],
            "date_range_earliest": "2025-01-15",
            "date_range_latest": "2025-01-15",
        },
        "history": None,
    }


@pytest.mark.parametrize("content_type", ["application/json", "", "application/x-www-form-urlencoded"])
def test_the_body_may_be_absent(api: APIClient, send: Send, content_type: str) -> None:
    send(call("1"))

    response = api.generic("POST", PATH, "", content_type=content_type)

    assert response.status_code == 200, response.content
    assert response.json() == ask(api) | {}
    assert response.json()["total_count"] == 1


def test_without_usage_it_is_empty(api: APIClient) -> None:
    answer = ask(api)

    assert (answer["daily"], answer["model_options"], answer["agent_options"]) == ([], [], [])
    assert answer["resources"] == {"agents": {}, "models": {}}
    assert answer["total_count"] == 0
    assert answer["analytics"]["date_range_earliest"] is None


@pytest.mark.parametrize(
    ("body", "total"),
    [
        ({}, "127"),
        ({"start_date": "2025-01-02"}, "124"),
        ({"end_date": "2025-01-02"}, "63"),
        ({"start_date": "2025-01-02", "end_date": "2025-01-02"}, "60"),
        ({"start_date": "2025-01-02T10:00:00Z", "end_date": "2025-01-02T10:59:59.999999Z"}, "8"),
        ({"start_date": "2025-01-02T10:30:00Z", "end_date": "2025-01-02T12:00:00Z"}, "24"),
        ({"start_date": "2025-01-02T10:30:00.000001Z"}, "112"),
        ({"end_date": "2025-01-02T11:30:00+01:00"}, "7"),
        ({"start_date": "2025-01-01T23:59:59.999999", "end_date": "2025-01-03T00:00:00Z"}, "62"),
        ({"date_from": "2025-01-02", "date_to": "2025-01-02"}, "60"),
        ({"date_from": "2024-01-01", "start_date": "2025-01-03"}, "64"),
        ({"date_to": "2026-01-01", "end_date": "2025-01-01"}, "3"),
        ({"start_date": None, "end_date": None, "date_to": "2025-01-01"}, "3"),
        ({"start_date": "2025-02-01"}, "0"),
    ],
)
@pytest.mark.parametrize("folded", [True, False])
def test_a_window_bounds_runs_and_a_last_day_is_whole(
    api: APIClient, organization: Organization, send: Send, body: dict[str, Any], total: str, *, folded: bool
) -> None:
    send(
        call("1", "2025-01-01T00:00:00Z"),
        call("2", "2025-01-01T23:59:59.999999Z"),
        call("4", "2025-01-02T00:00:00Z"),
        call("8", "2025-01-02T10:30:00Z"),
        call("16", "2025-01-02T11:00:00Z"),
        call("32", "2025-01-02T23:59:59.999999Z"),
        call("64", "2025-01-03T00:00:00Z"),
    )
    if folded:
        fold_organization(organization_id=organization.pk, now=NOW)

    answer = ask(api, **body)

    assert sum(Decimal(item["total_cost"]) for item in answer["daily"]) == Decimal(total)
    assert answer["total_count"] == sum(item["run_count"] for item in answer["daily"])
    assert answer["analytics"]["date_range_earliest"] == "2025-01-01"
    assert answer["analytics"]["date_range_latest"] == "2025-01-03"


def test_days_are_in_order_and_each_model_has_its_own_bucket(api: APIClient, send: Send) -> None:
    send(call("1", "2025-01-03"), call("2", "2025-01-02", OPUS), call("4", "2025-01-02"), call("8", "2025-01-02"))

    answer = ask(api)

    assert costs(answer) == {
        ("2025-01-02", uuid(GPT)): ("12", 2),
        ("2025-01-02", uuid(OPUS)): ("2", 1),
        ("2025-01-03", uuid(GPT)): ("1", 1),
    }
    keys = [(item["date_key"], item["model_id"]) for item in answer["daily"]]
    assert keys == sorted(keys)


def test_failed_calls_are_runs_and_tools_only_cost(api: APIClient, send: Send) -> None:
    send(
        call("0", status="failure"),
        call("1"),
        {"kind": "tool_call", "tool": "search", "cost_usd": "0.5", "occurred_at": "2025-01-15T12:00:00Z"},
        {"kind": "compute", "service": "cloud", "cost_usd": "0.25", "occurred_at": "2025-01-15T13:00:00Z"},
    )

    answer = ask(api)

    assert costs(answer) == {("2025-01-15", uuid(GPT)): ("1", 2), ("2025-01-15", None): ("0.75", 0)}
    assert answer["total_count"] == 2
    assert [option["label"] for option in answer["model_options"]] == ["gpt-4o"]


def test_the_same_model_of_two_services_is_two_models(api: APIClient, send: Send) -> None:
    azure = ModelKey("azure", "gpt-4o")
    send(call("1"), call("2", model=azure))

    assert costs(ask(api)) == {("2025-01-15", uuid(GPT)): ("1", 1), ("2025-01-15", uuid(azure)): ("2", 1)}
    assert ask(api, model_ids=[uuid(azure)])["total_count"] == 1


def test_tiny_amounts_have_no_exponent(api: APIClient, send: Send) -> None:
    send(call("0.0000000001"), call("0.00000000000000000000002"))

    (item,) = ask(api)["daily"]

    assert item["total_cost"] == "0.00000000010000000000002"
    assert re.fullmatch(r"\d+\.\d+", item["total_cost"])


def test_an_unpriced_event_is_a_run_without_a_cost(api: APIClient, send: Send) -> None:
    send(call("1"), {"model": "unheard-of", "input_tokens": 5, "occurred_at": "2025-01-15T12:00:00Z"})

    response = api.post(PATH, {})

    assert response.json()["total_count"] == 2
    assert costs(response.json())["2025-01-15", uuid(ModelKey("", "unheard-of"))] == ("0", 1)
    assert response["X-Costtrack-Unpriced-Events"] == "1"
    assert response["X-Costtrack-As-Of"].endswith("Z")


def test_a_voided_call_leaves_nothing(api: APIClient, send: Send) -> None:
    from billing.ledger.corrections import void
    from billing.models import UsageEvent

    send(call("1", id="wrong", model=OPUS), call("2"))
    event = UsageEvent.objects.get(event_id="wrong")
    void(organization=event.organization, event_id=event.pk, reason="A test.", actor="tests", now=NOW)

    answer = ask(api)

    assert costs(answer) == {("2025-01-15", uuid(GPT)): ("2", 1)}
    assert [option["label"] for option in answer["model_options"]] == ["gpt-4o"]


@pytest.mark.parametrize(
    ("body", "total"),
    [
        ({"model_ids": [uuid(GPT)]}, "5"),
        ({"model_ids": [uuid(GPT), uuid(OPUS)]}, "7"),
        ({"model_id": uuid(OPUS)}, "2"),
        ({"model_id": uuid(GPT), "model_ids": [uuid(OPUS)]}, "2"),
        ({"model_ids": []}, "15"),
        ({"model_ids": None, "agent_ids": None}, "15"),
        ({"agent_ids": [str(agent_uuid("one"))]}, "3"),
        ({"agent_id": str(agent_uuid("two"))}, "4"),
        ({"agent_ids": [str(agent_uuid("one"))], "model_ids": [uuid(OPUS)]}, "2"),
        ({"agent_ids": [str(agent_uuid("two"))], "model_ids": [uuid(OPUS)]}, "0"),
        ({"model_ids": [str(UUID(int=1))]}, "0"),
        ({"agent_ids": [str(UUID(int=1))]}, "0"),
        ({"model_ids": [uuid(GPT)], "start_date": "2025-01-15T11:30:00Z", "end_date": "2025-01-15T12:30:00Z"}, "5"),
    ],
)
def test_filters_pick_runs_and_leave_the_options(api: APIClient, send: Send, body: dict[str, Any], total: str) -> None:
    send(
        call("1", agent_id="one"),
        call("2", agent_id="one", model=OPUS),
        call("4", agent_id="two"),
        {"kind": "tool_call", "tool": "search", "cost_usd": "8", "occurred_at": "2025-01-15T12:00:00Z"},
    )

    answer = ask(api, **body)

    assert sum(Decimal(item["total_cost"]) for item in answer["daily"]) == Decimal(total)
    assert answer["total_count"] == sum(item["run_count"] for item in answer["daily"])
    assert {option["label"]: option["count"] for option in answer["model_options"]} == {"gpt-4o": 2, "claude-3-opus": 1}
    assert {option["label"]: option["count"] for option in answer["agent_options"]} == {"one": 2, "two": 1}


def test_options_are_those_of_the_window(api: APIClient, send: Send) -> None:
    send(call("1", "2025-01-14", OPUS), call("1"))

    answer = ask(api, start_date="2025-01-15")

    assert [option["label"] for option in answer["model_options"]] == ["gpt-4o"]
    assert list(answer["resources"]["models"]) == [uuid(GPT)]


def test_the_ids_of_models_and_agents_never_change() -> None:
    """Callers keep them."""
    assert uuid(GPT) == "c00f5ee6-9f39-5d83-b1de-44f719df35a7"
    assert str(agent_uuid("agent-1")) == "0622715a-cd26-50fa-91ce-a72e28f775da"


def test_an_id_that_is_a_uuid_stays_that(api: APIClient, send: Send) -> None:
    own = "0190f1a2-0000-7000-8000-00000000000a"
    send(call("1", agent_id=own), call("2", agent_id=own.upper()), call("4", agent_id=own.replace("-", "")))

    assert ask(api, agent_ids=[own])["total_count"] == 2
    options = {option["value"]: option["count"] for option in ask(api)["agent_options"]}
    assert options.pop(own) == 2
    assert list(options.values()) == [1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"start_date": "soon"}, "start_date"),
        ({"end_date": "2025-02-30"}, "end_date"),
        ({"start_date": ""}, "start_date"),
        ({"start_date": 5}, "start_date"),
        ({"date_to": ["2025-01-01"]}, "date_to"),
        ({"start_date": "2025-01-02", "end_date": "2025-01-01"}, "end_date"),
        ({"date_from": "2025-01-02", "date_to": "2025-01-01"}, "end_date"),
        ({"model_ids": "all"}, "model_ids"),
        ({"model_ids": ["no-uuid"]}, "model_ids"),
        ({"agent_id": "agent-1"}, "agent_id"),
        ({"department_ids": ["x"]}, "department_ids"),
        ({"page_limit": 0}, "page_limit"),
        ({"page_limit": 501}, "page_limit"),
        ({"page_offset": -1}, "page_offset"),
        ({"page_offset": 10**30}, "page_offset"),
        ({"snapshot_key": "a\0b"}, "snapshot_key"),
        ({"start": "2025-01-01"}, "start"),
        ({"profile_ids": []}, "profile_ids"),
        ({"search": "x"}, "search"),
    ],
)
def test_a_wrong_field_is_named(api: APIClient, body: dict[str, Any], field: str) -> None:
    response = api.post(PATH, body)

    assert response.status_code == 422, response.content
    error = response.json()["detail"][0]
    assert error["loc"][:2] == ["body", field]
    assert error["msg"]
    assert error["type"]


@pytest.mark.parametrize("body", ["[]", "null", "5", '"text"', "{}x", "[{}]", "{"])
def test_a_body_that_is_no_object_is_the_callers_mistake(api: APIClient, body: str) -> None:
    assert api.generic("POST", PATH, body, content_type="application/json").status_code in (400, 422)


def test_what_glow_sends_and_means_nothing_here_is_taken(api: APIClient, send: Send) -> None:
    send(call("1"), call("2", "2025-01-16"))

    body = {"department_ids": [str(UUID(int=7))], "page_limit": 1, "page_offset": 100, "snapshot_key": "k"}
    assert len(ask(api, **body, page=3, page_size=1, sort_by="date", sort_order="asc")["daily"]) == 2


def test_organizations_do_not_meet(
    api: APIClient, other_api: APIClient, other_organization: Organization, send: Send
) -> None:
    send(call("1", id="same", agent_id="same"))
    send(call("2", id="same", agent_id="same", agent_name="Theirs"), call("4", model=OPUS), to=other_organization)

    own_answer, theirs = ask(api), ask(other_api)

    assert costs(own_answer) == {("2025-01-15", uuid(GPT)): ("1", 1)}
    assert [option["label"] for option in own_answer["agent_options"]] == ["same"]
    assert costs(theirs) == {("2025-01-15", uuid(GPT)): ("2", 1), ("2025-01-15", uuid(OPUS)): ("4", 1)}
    assert ask(api, model_ids=[uuid(OPUS)])["daily"] == []


def test_who_may_read(organization: Organization, owner: User, viewer: User, stranger: User, send: Send) -> None:
    send(call("1"))
    assert APIClient().post(PATH, {}).status_code == 401
    assert make_key(organization, Scope.USAGE_WRITE).client().post(PATH, {}).status_code == 403
    for user in (owner, viewer):
        client = Client()
        client.force_login(user)
        assert client.post(PATH, {}, content_type="application/json").json()["total_count"] == 1
    foreign = Client()
    foreign.force_login(stranger)
    assert foreign.post(PATH, {}, content_type="application/json").json()["total_count"] == 0
    assert foreign.post(f"{PATH}?organization=acme", {}, content_type="application/json").status_code == 404


def test_a_browser_needs_the_csrf_token(viewer: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(viewer)
    assert client.post(PATH, {}, content_type="application/json").status_code == 403


def test_a_plan_without_api_says_what_would_allow_it(api: APIClient, organization: Organization) -> None:
    organization.plan_id = "free"
    organization.save(update_fields=["plan"])

    response = api.post(PATH, {})

    assert response.status_code == 403
    assert "Pay as you go" in response.json()["detail"]


def test_get_is_not_allowed(api: APIClient) -> None:
    assert api.get(PATH).status_code == 405
