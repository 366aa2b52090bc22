"""Document 003: `GET /costs/executions` and `GET /costs/executions/{execution_id}`."""

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
from tests.usage import NOW, Send

FOLDED = pytest.mark.parametrize("is_folded", [True, False])


def call(execution: str, session: str, cost: str = "1", **fields: Any) -> dict[str, Any]:
    return {"execution_id": execution, "session_id": session, "cost_usd": cost, "model": "gpt-4o", **fields}


@FOLDED
def test_an_execution_is_the_sum_of_its_sessions(api: APIClient, send: Send, *, is_folded: bool) -> None:
    first = {"phase_id": "plan", "workflow_id": "flow", "occurred_at": "2026-10-01T09:00:00Z", "duration_ms": 10}
    tokens = {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 3, "cache_creation_tokens": 2}
    send(
        call("e", "s-2", "0.5", **first, **tokens),
        call("e", "s-1", "0.25", phase_id="build", occurred_at="2026-10-01T08:00:00Z", model="o3"),
        call("e", "s-1", "0", kind="tool_call", tool="Bash", compute_cost_usd=None, duration_ms=5),
        call("e", "s-3", "0.125", kind="compute"),
        {"execution_id": "e", "cost_usd": "100"},  # of no session
        call("other", "s-4", "7"),
    )
    if is_folded:
        fold(now=NOW)

    answer = api.get("/costs/executions/e?include_session_ids=true")

    assert answer.status_code == 200
    assert answer.json() == {
        "execution_id": "e",
        "workflow_id": "flow",
        "session_count": 3,
        "session_ids": ["s-1", "s-2", "s-3"],
        "total_cost_usd": "0.875",
        "token_cost_usd": "0.75",
        "compute_cost_usd": "0.125",
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "cache_creation_tokens": 2,
        "cache_read_tokens": 3,
        "tool_calls": 1,
        "turns": 2,
        "duration_ms": 15.0,
        "cost_by_phase": {"build": "0.25", "plan": "0.5"},
        "cost_by_model": {"gpt-4o": "0.5", "o3": "0.25"},
        "cost_by_tool": {"Bash": "0", "unknown": "0.125"},
        "is_complete": False,
        "started_at": "2026-10-01T08:00:00Z",
        "completed_at": None,
    }
    listed = {item["execution_id"]: item for item in api.get("/costs/executions").json()}
    assert listed["e"] == answer.json()
    assert listed["other"]["total_cost_usd"] == "7"


def test_what_is_not_requested_is_empty(api: APIClient, send: Send) -> None:
    send(call("e", "s", phase_id="p"))

    answer = api.get("/costs/executions/e").json()
    assert (answer["session_ids"], answer["session_count"]) == ([], 1)
    assert answer["cost_by_phase"] == {"p": "1"}

    answer = api.get("/costs/executions/e?include_breakdown=false&include_session_ids=1").json()
    assert (answer["cost_by_phase"], answer["cost_by_model"], answer["cost_by_tool"]) == ({}, {}, {})
    assert answer["session_ids"] == ["s"]


@FOLDED
def test_it_is_complete_when_all_sessions_are_finalized(api: APIClient, send: Send, *, is_folded: bool) -> None:
    def end(session: str, hour: int) -> dict[str, Any]:
        at = f"2026-10-01T{hour}:00:00Z"
        return {"kind": "session_summary", "session_id": session, "cost_usd": "2", "occurred_at": at}

    send(call("e", "s-1"), call("e", "s-2"))
    send(end("s-1", 11))
    if is_folded:
        fold(now=NOW)
    answer = api.get("/costs/executions/e").json()
    assert (answer["is_complete"], answer["completed_at"]) == (False, "2026-10-01T11:00:00Z")

    send(end("s-2", 10))
    if is_folded:
        fold(now=NOW)
    answer = api.get("/costs/executions/e").json()
    assert (answer["is_complete"], answer["completed_at"]) == (True, "2026-10-01T11:00:00Z")
    assert answer["total_cost_usd"] == "4"  # and not the events and the summaries together

    send(call("e", "s-3"))
    assert api.get("/costs/executions/e").json()["is_complete"] is False


def test_a_cost_is_of_its_own_phase_or_of_its_sessions(api: APIClient, send: Send) -> None:
    send(call("e", "s", phase_id="p"), call("e", "s", phase_id="q"), call("e", "s", "4"))

    assert api.get("/costs/executions/e").json()["cost_by_phase"] == {"p": "1", "q": "5"}


def test_a_session_of_two_executions_counts_once(api: APIClient, send: Send) -> None:
    send(call("a", "s", "1"))
    fold(now=NOW)
    send(call("b", "s", "2"))

    for _ in range(2):
        assert api.get("/costs/executions/b").json()["total_cost_usd"] == "3"
        left = api.get("/costs/executions/a").json()
        assert (left["session_count"], left["total_cost_usd"], left["started_at"]) == (0, "0", None)
        assert left["is_complete"] is False
        fold(now=NOW)


def started(api: APIClient, query: str = "") -> list[str]:
    return [execution["execution_id"] for execution in api.get(f"/costs/executions{query}").json()]


@FOLDED
def test_the_newest_come_first(api: APIClient, send: Send, *, is_folded: bool) -> None:
    for number, hour in enumerate((10, 12, 12, 11)):
        send(call(f"e-{number}", f"s-{number}", occurred_at=f"2026-10-01T{hour}:00:00Z"))
    if is_folded:
        fold(now=NOW)

    assert started(api) == ["e-1", "e-2", "e-3", "e-0"]
    assert started(api, "?limit=2") == ["e-1", "e-2"]


def test_what_is_not_folded_yet_may_move_an_execution_or_bring_one(api: APIClient, send: Send) -> None:
    for hour in (10, 11, 12):
        send(call(f"at-{hour}", f"s-{hour}", occurred_at=f"2026-10-01T{hour}:00:00Z"))
    fold(now=NOW)
    send(
        call("at-12", "late", occurred_at="2026-10-01T09:00:00Z"),
        call("new", "s-new", occurred_at="2026-10-01T10:30:00Z"),
    )

    for _ in range(2):
        assert started(api) == ["at-11", "new", "at-10", "at-12"]
        assert started(api, "?limit=1") == ["at-11"]
        assert api.get("/costs/executions/at-12").json()["session_count"] == 2
        fold(now=NOW)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x"])
def test_bad_parameters_of_the_list_are_named(api: APIClient, query: str) -> None:
    response = api.get(f"/costs/executions?{query}")

    assert response.status_code == 422
    (error,) = response.json()["detail"]
    assert error["loc"] == ["query", query.partition("=")[0]]


@pytest.mark.parametrize("query", ["include_breakdown=maybe", "include_session_ids=2"])
def test_bad_parameters_of_one_execution_are_named(api: APIClient, send: Send, query: str) -> None:
    send(call("e", "s"))
    response = api.get(f"/costs/executions/e?{query}")

    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", query.partition("=")[0]]


def test_bounds_of_the_limit_are_inside(api: APIClient, send: Send) -> None:
    send(*(call(f"e-{number}", f"s-{number}") for number in range(210)))

    assert len(started(api)) == 50
    assert len(started(api, "?limit=200")) == 200
    assert len(started(api, "?limit=1")) == 1


def test_an_unknown_execution_is_a_404(api: APIClient, send: Send) -> None:
    send({"execution_id": "without-sessions", "cost_usd": "1"})

    response = api.get("/costs/executions/nobody")
    assert (response.status_code, response.json()) == (404, {"detail": "Execution cost not found for execution nobody"})
    assert api.get("/costs/executions/without-sessions").status_code == 404
    assert api.get("/costs/executions/a%00b").status_code == 404


@pytest.mark.parametrize("execution", ["with/slash", "ünïcode", "..", "a%2Fb?", "x" * 255])
def test_any_execution_id_can_be_requested(api: APIClient, send: Send, execution: str) -> None:
    send(call(execution, "s"))

    assert api.get(f"/costs/executions/{quote(execution, safe='')}").json()["execution_id"] == execution


def test_executions_of_another_organization_are_unknown(
    api: APIClient, other_api: APIClient, other_organization: Organization, send: Send
) -> None:
    send(call("shared", "s", "1"))
    send(call("shared", "s", "2"), call("shared", "t", "4"), call("theirs", "u", "8"), to=other_organization)

    assert api.get("/costs/executions/shared").json()["total_cost_usd"] == "1"
    assert started(api) == ["shared"]
    assert api.get("/costs/executions/theirs").status_code == 404
    assert other_api.get("/costs/executions/shared").json()["total_cost_usd"] == "6"


@pytest.mark.parametrize("path", ["/costs/executions", "/costs/executions/e"])
def test_who_may_read(
    organization: Organization, owner: User, viewer: User, stranger: User, send: Send, path: str
) -> None:
    send(call("e", "s"))
    assert APIClient().get(path).status_code == 401
    assert make_key(organization, Scope.USAGE_WRITE).client().get(path).status_code == 403
    for user in (owner, viewer):
        client = Client()
        client.force_login(user)
        assert client.get(path).status_code == 200
    foreign = Client()
    foreign.force_login(stranger)
    assert foreign.get(path).status_code == (200 if path == "/costs/executions" else 404)


def test_the_number_of_queries_is_fixed(api: APIClient, send: Send) -> None:
    send(*(call(f"e-{number % 20}", f"s-{number}", model=f"m-{number}") for number in range(100)))

    def queries(path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert api.get(path).status_code == 200
        return len(captured)

    for _ in range(2):
        queries("/costs/executions")  # the first use of a key notes the time, and the next one remembers it
    assert queries("/costs/executions?limit=1") == queries("/costs/executions?limit=20")
