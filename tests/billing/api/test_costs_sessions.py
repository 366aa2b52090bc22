"""Document 003: `GET /costs/sessions` and `GET /costs/sessions/{session_id}`."""

from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.rollups.fold import fold
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, Send, set_price

# Every test of an answer holds for what is folded and for what is not.
FOLDED = pytest.mark.parametrize("is_folded", [True, False])


def call(session: str, cost: str = "1", **fields: Any) -> dict[str, Any]:
    return {"session_id": session, "cost_usd": cost, "model": "gpt-4o", **fields}


@FOLDED
def test_a_session_answers_like_the_document(api: APIClient, send: Send, *, is_folded: bool) -> None:
    set_price("claude", provider="anthropic", input="3", output="15")
    common = {
        "session_id": "s-1",
        "execution_id": "e-1",
        "workflow_id": "flow",
        "phase_id": "research",
        "workspace_id": "box",
    }
    claude = {**common, "service": "anthropic", "model": "claude"}
    tokens = {"input_tokens": 10_000, "output_tokens": 100, "cache_read_tokens": 7, "cache_creation_tokens": 8}
    send(
        {**claude, "cost_usd": "0.5", **tokens, "occurred_at": "2026-10-01T09:00:00Z", "duration_ms": 1500.5},
        {**claude, "tool": "Read", "tool_use_tokens": 30, "tool_result_tokens": 5000, "cost_usd": "0"},
        {**common, "kind": "tool_call", "tool": "Bash", "cost_usd": "0.25", "duration_ms": 100},
        {**common, "kind": "compute", "cost_usd": "0.05"},
        {**common, "cost_usd": "0.1"},
    )
    if is_folded:
        fold(now=NOW)

    response = api.get("/costs/sessions/s-1")

    assert response.status_code == 200
    assert response.json() == {
        "session_id": "s-1",
        "execution_id": "e-1",
        "workflow_id": "flow",
        "phase_id": "research",
        "workspace_id": "box",
        "total_cost_usd": "0.9",
        "token_cost_usd": "0.6",
        "compute_cost_usd": "0.3",
        "input_tokens": 10_000,
        "output_tokens": 100,
        "total_tokens": 10_100,
        "cache_creation_tokens": 8,
        "cache_read_tokens": 7,
        "tool_calls": 1,
        "turns": 3,
        "duration_ms": 1600.5,
        "cost_by_model": {"claude": "0.5", "unknown": "0.1"},
        "cost_by_tool": {"Bash": "0.25", "unknown": "0.05"},
        "tokens_by_tool": {"Read": 5030},
        "cost_by_tool_tokens": {"Read": "0.01545"},
        "is_finalized": False,
        "started_at": "2026-10-01T09:00:00Z",
        "completed_at": None,
    }
    assert response["X-Costtrack-As-Of"].endswith("Z")
    assert response["X-Costtrack-Unpriced-Events"] == "0"
    assert api.get("/costs/sessions").json() == [response.json()]


def test_what_was_not_sent_is_null_or_empty(api: APIClient, send: Send) -> None:
    send({"session_id": "s", "model": "unheard-of", "input_tokens": 5})

    response = api.get("/costs/sessions/s")

    answer = response.json()
    for name in ("execution_id", "workflow_id", "phase_id", "workspace_id", "completed_at"):
        assert answer[name] is None
    assert answer["total_cost_usd"] == "0"
    assert answer["duration_ms"] == 0
    assert answer["cost_by_tool"] == answer["tokens_by_tool"] == answer["cost_by_tool_tokens"] == {}
    assert response["X-Costtrack-Unpriced-Events"] == "1"


def test_money_has_no_exponent_and_no_digit_is_lost(api: APIClient, send: Send) -> None:
    send(call("s", "0.0000000001"), call("t", "123456789012.000000000000000000000001"))

    assert api.get("/costs/sessions/s").json()["total_cost_usd"] == "0.0000000001"
    assert api.get("/costs/sessions/t").json()["cost_by_model"] == {"gpt-4o": "123456789012.000000000000000000000001"}


@FOLDED
def test_a_summary_replaces_what_it_names_and_every_sum_still_holds(
    api: APIClient, send: Send, *, is_folded: bool
) -> None:
    send(call("s", "1", input_tokens=100), call("s", "1"), {"session_id": "s", "kind": "tool_call", "tool": "t"})
    summary = {"id": "end", "session_id": "s", "kind": "session_summary", "model": "o3"}
    totals = {"turns": 9, "tool_calls": 4, "duration_ms": 1234.5, "input_tokens": 90, "cost_usd": "1.5"}
    send({**summary, **totals, "compute_cost_usd": "0.25", "occurred_at": "2026-10-02T10:00:00Z"})
    if is_folded:
        fold(now=NOW)
    send({**summary, **totals, "compute_cost_usd": "0.25", "occurred_at": "2026-10-02T10:00:00Z"})

    answer = api.get("/costs/sessions/s").json()

    assert (answer["turns"], answer["tool_calls"], answer["duration_ms"]) == (9, 4, 1234.5)
    assert (answer["input_tokens"], answer["output_tokens"]) == (90, 0)
    assert (answer["total_cost_usd"], answer["token_cost_usd"], answer["compute_cost_usd"]) == ("1.75", "1.5", "0.25")
    assert answer["cost_by_model"] == {"gpt-4o": "2", "o3": "-0.5"}
    assert answer["cost_by_tool"] == {"t": "0", "unknown": "0.25"}
    assert (answer["is_finalized"], answer["completed_at"]) == (True, "2026-10-02T10:00:00Z")

    send(call("s", "0.5", occurred_at="2026-10-03T10:00:00Z"))
    answer = api.get("/costs/sessions/s").json()
    assert (answer["token_cost_usd"], answer["turns"]) == ("2", 10)
    assert (answer["is_finalized"], answer["completed_at"]) == (True, "2026-10-02T10:00:00Z")


def test_without_a_breakdown_all_maps_are_empty(api: APIClient, send: Send) -> None:
    set_price("gpt-4o", input="1", output="2")
    send(call("s", tool="Read", tool_use_tokens=1_000_000), {"session_id": "s", "kind": "tool_call", "tool": "Read"})

    for no in ("false", "0", "no", "off"):
        answer = api.get(f"/costs/sessions/s?include_breakdown={no}").json()
        assert answer["cost_by_model"] == answer["cost_by_tool"] == {}
        assert answer["tokens_by_tool"] == answer["cost_by_tool_tokens"] == {}
    for yes in ("true", "1", "yes", "on", ""):
        assert api.get(f"/costs/sessions/s?include_breakdown={yes}").json()["cost_by_tool"] == {"Read": "0"}


def test_tool_tokens_without_a_model_are_priced_by_the_one_that_was_called_most(api: APIClient, send: Send) -> None:
    set_price("big", provider="acme", input="10", output="100")
    set_price("small", provider="acme", input="1", output="2")
    send(
        call("s", service="acme", model="big", input_tokens=1_000_000),
        *(call("s", service="acme", model="small") for _ in range(2)),
        {"session_id": "s", "kind": "tool_call", "tool": "Grep", "tool_use_tokens": 500_000},
        {"session_id": "s", "kind": "tool_call", "tool": "Grep", "tool_result_tokens": 1_000_000},
    )

    assert api.get("/costs/sessions/s").json()["cost_by_tool_tokens"] == {"Grep": "2"}


def test_a_tool_whose_tokens_have_no_known_price_is_left_out(api: APIClient, send: Send) -> None:
    set_price("priced", input="1")
    send(
        call("s", model="priced", tool="Read", tool_result_tokens=1000),
        call("s", model="priced", tool="Write", tool_use_tokens=1000),  # no price for output
        call("s", model="unheard-of", tool="Read", tool_result_tokens=1),
        call("s", model="priced", tool="Grep", tool_result_tokens=1000),
        {"session_id": "none", "kind": "tool_call", "tool": "Read", "tool_use_tokens": 1},
    )

    answer = api.get("/costs/sessions/s").json()
    assert answer["tokens_by_tool"] == {"Read": 1001, "Write": 1000, "Grep": 1000}
    assert answer["cost_by_tool_tokens"] == {"Grep": "0.001"}
    assert api.get("/costs/sessions/none").json()["cost_by_tool_tokens"] == {}


def started(api: APIClient, query: str = "") -> list[str]:
    return [session["session_id"] for session in api.get(f"/costs/sessions{query}").json()]


@FOLDED
def test_the_newest_come_first_and_those_of_an_execution_in_their_order(
    api: APIClient, send: Send, *, is_folded: bool
) -> None:
    for number, hour in enumerate((10, 12, 12, 11)):
        at = f"2026-10-01T{hour}:00:00Z"
        send(call(f"s-{number}", occurred_at=at, execution_id="e" if number else "other"))
    if is_folded:
        fold(now=NOW)

    assert started(api) == ["s-1", "s-2", "s-3", "s-0"]
    assert started(api, "?limit=2") == ["s-1", "s-2"]
    assert started(api, "?execution_id=e") == ["s-3", "s-1", "s-2"]
    assert started(api, "?execution_id=e&limit=1") == ["s-3"]
    assert started(api, "?execution_id=") == started(api)
    assert started(api, "?execution_id=unknown") == []


def test_what_is_not_folded_yet_may_move_a_session_or_bring_one(api: APIClient, send: Send) -> None:
    for hour in (10, 11, 12):
        send(call(f"at-{hour}", occurred_at=f"2026-10-01T{hour}:00:00Z", execution_id="e"))
    fold(now=NOW)
    send(
        call("at-12", occurred_at="2026-10-01T09:00:00Z"),  # it began earlier than was known
        call("at-10", execution_id="f"),  # it is of another execution
        call("new", occurred_at="2026-10-01T10:30:00Z", execution_id="e"),
    )

    assert started(api) == ["at-11", "new", "at-10", "at-12"]
    assert started(api, "?limit=2") == ["at-11", "new"]
    assert started(api, "?limit=1") == ["at-11"]
    assert started(api, "?execution_id=e") == ["at-12", "new", "at-11"]
    assert started(api, "?execution_id=f") == ["at-10"]
    assert {s["session_id"]: s["turns"] for s in api.get("/costs/sessions").json()}["at-12"] == 2

    fold(now=NOW)
    assert started(api) == ["at-11", "new", "at-10", "at-12"]
    assert started(api, "?execution_id=e") == ["at-12", "new", "at-11"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("limit=1.5", "limit"),
        ("limit=" + "9" * 500, "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("execution_id=" + "x" * 256, "execution_id"),
        ("execution_id=a%00b", "execution_id"),
    ],
)
def test_bad_parameters_of_the_list_are_named(api: APIClient, query: str, field: str) -> None:
    response = api.get(f"/costs/sessions?{query}")

    assert response.status_code == 422, response.content
    (error,) = response.json()["detail"]
    assert error["loc"] == ["query", field]
    assert error["msg"]
    assert error["type"]


@pytest.mark.parametrize("query", ["include_breakdown=maybe", "include_breakdown=a%00"])
def test_bad_parameters_of_one_session_are_named(api: APIClient, send: Send, query: str) -> None:
    send(call("s"))
    response = api.get(f"/costs/sessions/s?{query}")

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", query.partition("=")[0]]


def test_bounds_of_the_limit_are_inside(api: APIClient, send: Send) -> None:
    send(*(call(f"s-{number:03}") for number in range(210)))

    assert len(started(api)) == 50
    assert len(started(api, "?limit=200")) == 200
    assert len(started(api, "?limit=1&organization=acme")) == 1


def test_an_unknown_session_is_a_404(api: APIClient) -> None:
    response = api.get("/costs/sessions/nobody")

    assert (response.status_code, response.json()) == (404, {"detail": "Session cost not found for session nobody"})
    assert api.get("/costs/sessions/a%00b").status_code == 404


@pytest.mark.parametrize("session", ["with/slash", "with space", "ünïcode", "..", "a%2Fb?", "x" * 255])
def test_any_session_id_can_be_requested(api: APIClient, send: Send, session: str) -> None:
    send(call(session))

    assert api.get(f"/costs/sessions/{quote(session, safe='')}").json()["session_id"] == session


def test_sessions_of_another_organization_are_unknown(
    api: APIClient, other_api: APIClient, other_organization: Organization, send: Send
) -> None:
    send(call("shared", "1", execution_id="e"))
    send(call("shared", "2", execution_id="e"), call("theirs", "4", execution_id="e"), to=other_organization)

    for query in ("", "?execution_id=e"):
        assert [s["total_cost_usd"] for s in api.get(f"/costs/sessions{query}").json()] == ["1"]
        assert [s["total_cost_usd"] for s in other_api.get(f"/costs/sessions{query}").json()] == ["2", "4"]
    assert api.get("/costs/sessions/theirs").status_code == 404
    assert other_api.get("/costs/sessions/shared").json()["total_cost_usd"] == "2"


@pytest.mark.parametrize("path", ["/costs/sessions", "/costs/sessions/s"])
def test_who_may_read(
    organization: Organization, owner: User, viewer: User, stranger: User, send: Send, path: str
) -> None:
    send(call("s"))
    assert APIClient().get(path).status_code == 401
    assert make_key(organization, Scope.USAGE_WRITE).client().get(path).status_code == 403
    for user in (owner, viewer):
        client = Client()
        client.force_login(user)
        assert client.get(path).status_code == 200
    foreign = Client()
    foreign.force_login(stranger)
    assert foreign.get(path).status_code == (200 if path == "/costs/sessions" else 404)


def test_a_plan_without_api_says_what_would_allow_it(api: APIClient, organization: Organization) -> None:
    organization.plan_id = "free"
    organization.save(update_fields=["plan"])

    response = api.get("/costs/sessions")

    assert response.status_code == 403
    assert "Pay as you go" in response.json()["detail"]


def test_the_number_of_queries_is_fixed(api: APIClient, send: Send) -> None:
    tokens: dict[str, Any] = {"tool": "Read", "tool_result_tokens": 5, "execution_id": "e"}
    send(*(call(f"s-{number}", **tokens, model=f"m-{number}") for number in range(100)))

    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert api.get(path).status_code == 200
        return len(captured)

    for _ in range(2):
        queries("/costs/sessions")  # the first use of a key notes the time, and the next one remembers it
    assert queries("/costs/sessions?limit=1") == queries("/costs/sessions?limit=100")
    assert queries("/costs/sessions?execution_id=e&limit=1") == queries("/costs/sessions?execution_id=e&limit=100")
