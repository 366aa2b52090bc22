"""Document 003: `GET /costs/summary`."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.rollups.fold import fold
from billing.rollups.retention import drop_events
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, Send

pytestmark = pytest.mark.usefixtures("whole_history")

FOLDED = pytest.mark.parametrize("is_folded", [True, False])


def call(session: str, cost: str = "1", **fields: Any) -> dict[str, Any]:
    return {"session_id": session, "cost_usd": cost, "model": "gpt-4o", **fields}


def top(api: APIClient) -> list[tuple[str, str]]:
    return [(entry["session_id"], entry["cost_usd"]) for entry in api.get("/costs/summary").json()["top_sessions"]]


def test_nothing_yet(api: APIClient) -> None:
    assert api.get("/costs/summary").json() == {
        "total_cost_usd": "0",
        "total_sessions": 0,
        "total_executions": 0,
        "total_tokens": 0,
        "total_tool_calls": 0,
        "top_models": [],
        "top_sessions": [],
    }


@FOLDED
def test_it_answers_like_the_document(api: APIClient, send: Send, *, is_folded: bool) -> None:
    send(
        call("s-1", "1.5", execution_id="e", input_tokens=10, output_tokens=5, cache_read_tokens=100),
        call("s-1", "0.5", execution_id="e", model=""),
        call("s-2", "0.25", execution_id="f", model="o3"),
        {"session_id": "s-3", "kind": "tool_call", "tool": "Bash", "cost_usd": "4"},
        {"cost_usd": "100", "model": "gpt-4o", "execution_id": "g"},  # of no session
    )
    if is_folded:
        fold(now=NOW)

    response = api.get("/costs/summary")

    assert response.json() == {
        "total_cost_usd": "6.25",
        "total_sessions": 3,
        "total_executions": 2,
        "total_tokens": 15,
        "total_tool_calls": 1,
        "top_models": [
            {"model": "gpt-4o", "cost_usd": "1.5"},
            {"model": "unknown", "cost_usd": "0.5"},
            {"model": "o3", "cost_usd": "0.25"},
        ],
        "top_sessions": [
            {"session_id": "s-3", "cost_usd": "4", "tokens": 0},
            {"session_id": "s-1", "cost_usd": "2", "tokens": 15},
            {"session_id": "s-2", "cost_usd": "0.25", "tokens": 0},
        ],
    }
    assert response["X-Costtrack-As-Of"].endswith("Z")


@FOLDED
def test_the_top_lists_have_five_and_equal_ones_are_by_name(api: APIClient, send: Send, *, is_folded: bool) -> None:
    send(*(call(f"s-{number}", "2", model=f"m-{number}") for number in (7, 3, 5, 1, 6, 2, 4)), call("expensive", "3"))
    if is_folded:
        fold(now=NOW)

    answer = api.get("/costs/summary").json()
    assert [entry["model"] for entry in answer["top_models"]] == ["gpt-4o", "m-1", "m-2", "m-3", "m-4"]
    assert [entry["session_id"] for entry in answer["top_sessions"]] == ["expensive", "s-1", "s-2", "s-3", "s-4"]


def test_what_is_not_folded_yet_is_counted_and_ranked(api: APIClient, send: Send) -> None:
    send(*(call(f"s-{number}", str(number), execution_id="e") for number in range(1, 9)))
    fold(now=NOW)
    send(call("s-1", "6.5", execution_id="f"), call("new", "5.5", execution_id="g"), call("s-8", "0"))

    for _ in range(2):
        answer = api.get("/costs/summary").json()
        assert (answer["total_cost_usd"], answer["total_sessions"], answer["total_executions"]) == ("48", 9, 3)
        assert top(api) == [("s-8", "8"), ("s-1", "7.5"), ("s-7", "7"), ("s-6", "6"), ("new", "5.5")]
        fold(now=NOW)


@pytest.mark.parametrize("sessions", [7, 60])
def test_a_session_of_which_a_part_was_dropped_still_counts_as_one(api: APIClient, send: Send, sessions: int) -> None:
    before, after = datetime(2026, 5, 20, tzinfo=UTC), datetime(2026, 7, 20, tzinfo=UTC)
    # Each costs 10 and a little in one part or the other; those in two parts cost twice 5.5.
    send(*(call(f"whole-{n:02}", f"10.{n:02}") for n in range(sessions)), now=before)
    for now in (before, after):
        send(*(call(f"parts-{n}", "5.5") for n in range(3)), call("late", "20" if now == after else "0"), now=now)
    fold(now=after)
    drop_events(before=datetime(2026, 7, 1, tzinfo=UTC), actor="tests", now=after, report=lambda _: None)

    last = sessions - 1
    expected = [("late", "20"), *((f"parts-{n}", "11") for n in range(3)), (f"whole-{last:02}", f"10.{last:02}")]
    expected = sorted(expected, key=lambda item: (-float(item[1]), item[0]))
    cents = [(name, cost.rstrip("0")) if "." in cost else (name, cost) for name, cost in expected]
    assert top(api) == cents
    send(call("parts-1", "0.5"), now=after)
    assert top(api)[1] == ("parts-1", "11.5")
    assert api.get("/costs/summary").json()["total_sessions"] == sessions + 4


def test_a_summary_of_a_session_is_not_counted_beside_its_events(api: APIClient, send: Send) -> None:
    send(call("s", "1"), {"session_id": "s", "kind": "tool_call", "tool": "Bash"})
    send({"session_id": "s", "kind": "session_summary", "model": "gpt-4o", "cost_usd": "0.5", "tool_calls": 3})

    answer = api.get("/costs/summary").json()
    assert (answer["total_cost_usd"], answer["total_tool_calls"]) == ("0.5", 3)
    assert answer["top_models"] == [{"model": "gpt-4o", "cost_usd": "0.5"}]


def test_a_parameter_is_ignored(api: APIClient) -> None:
    assert api.get("/costs/summary?limit=5").headers["X-Ignored-Parameters"] == "limit"
    assert api.get("/costs/summary?organization=acme").status_code == 200


def test_another_organization_is_not_in_it(api: APIClient, other_organization: Organization, send: Send) -> None:
    send(call("s", "1"))
    fold(now=NOW)
    send(call("s", "2"), call("t", "4", execution_id="e"), to=other_organization)

    answer = api.get("/costs/summary").json()
    assert (answer["total_cost_usd"], answer["total_sessions"], answer["total_executions"]) == ("1", 1, 0)


def test_who_may_read(organization: Organization, owner: User, viewer: User, stranger: User, send: Send) -> None:
    send(call("s"))
    assert APIClient().get("/costs/summary").status_code == 401
    assert make_key(organization, Scope.USAGE_WRITE).client().get("/costs/summary").status_code == 403
    for user in (owner, viewer):
        client = Client()
        client.force_login(user)
        assert client.get("/costs/summary").json()["total_sessions"] == 1
    foreign = Client()
    foreign.force_login(stranger)
    assert foreign.get("/costs/summary").json()["total_sessions"] == 0
