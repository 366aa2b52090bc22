"""Document 002: `GET /costs/runs/{run_id}` and `GET /costs/runs`."""

from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from billing.ledger.price_unpriced import price_unpriced
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW, Send, set_price

NOTHING = {"total_cost": 0.0, "costs_by_service": {}, "costs_by_group": {}}


def call(run: str, cost: str, service: str = "openai", model: str = "gpt-4", **fields: Any) -> dict[str, Any]:
    return {"run_id": run, "cost_usd": cost, "service": service, "model": model, **fields}


def test_a_run_answers_like_the_document(api: APIClient, send: Send) -> None:
    send(
        call("run_1", "0.25"),
        call("run_1", "0.1", model="gpt-3.5-turbo"),
        call("run_1", "0.1", service="anthropic", model="claude-3-opus"),
    )

    response = api.get("/costs/runs/run_1")

    assert response.status_code == 200
    assert response.json() == {
        "total_cost": 0.45,
        "costs_by_service": {"openai": 0.35, "anthropic": 0.1},
        "costs_by_group": {"openai": {"gpt-4": 0.25, "gpt-3.5-turbo": 0.1}, "anthropic": {"claude-3-opus": 0.1}},
    }


def test_all_runs_answer_like_the_document(api: APIClient, send: Send) -> None:
    send(
        call("a", "0.65"),
        call("b", "0.2", model="gpt-3.5-turbo"),
        call("a", "0.2", service="anthropic", model="claude-3-opus"),
        call("b", "0.1", service="anthropic", model="claude-3-sonnet"),
        call("c", "0.1", service="cohere", model="command"),
        {"cost_usd": "9", "service": "openai", "model": "gpt-4"},  # of no run
    )

    assert api.get("/costs/runs").json() == {
        "total_cost": 1.25,
        "costs_by_service": {"openai": 0.85, "anthropic": 0.3, "cohere": 0.1},
        "costs_by_group": {
            "openai": {"gpt-4": 0.65, "gpt-3.5-turbo": 0.2},
            "anthropic": {"claude-3-opus": 0.2, "claude-3-sonnet": 0.1},
            "cohere": {"command": 0.1},
        },
    }


def test_an_unknown_run_is_a_404_and_a_run_without_costs_is_not(api: APIClient, send: Send) -> None:
    send(call("child", "0.1", parent_run_id="parent"))

    unknown = api.get("/costs/runs/nobody")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Run nobody not found"})
    assert api.get("/costs/runs/parent").json() == NOTHING


def test_children_count_to_any_depth_on_request(api: APIClient, send: Send) -> None:
    send(
        call("root", "1"),
        *(call(f"level-{depth}", "1", parent_run_id=f"level-{depth - 1}" if depth else "root") for depth in range(50)),
    )

    assert api.get("/costs/runs/root").json()["total_cost"] == 1.0
    assert api.get("/costs/runs/root?include_children=true").json()["total_cost"] == 51.0
    assert api.get("/costs/runs/level-48?include_children=1").json()["total_cost"] == 2.0


def test_a_cycle_ends_and_counts_each_run_once(api: APIClient, send: Send) -> None:
    send(
        call("a", "1", parent_run_id="c"),
        call("b", "2", parent_run_id="a"),
        call("c", "4", parent_run_id="b"),
        call("self", "8", parent_run_id="self"),
    )

    assert api.get("/costs/runs/b?include_children=true").json()["total_cost"] == 7.0
    assert api.get("/costs/runs/self?include_children=true").json()["total_cost"] == 8.0


def test_a_workflow_is_a_filter_and_its_descendants_may_be_of_another(api: APIClient, send: Send) -> None:
    send(
        call("root", "1", workflow_id="wf"),
        call("second", "2", workflow_id="wf", parent_run_id="root"),
        call("helper", "4", workflow_id="other", parent_run_id="second"),
        call("stranger", "8", workflow_id="other"),
    )

    assert api.get("/costs/runs?workflow_id=wf").json()["total_cost"] == 3.0
    assert api.get("/costs/runs?workflow_id=wf&include_children=true").json()["total_cost"] == 7.0
    assert api.get("/costs/runs?workflow_id=unknown").json() == NOTHING
    # Without a workflow every run is in already, so children add nothing.
    assert api.get("/costs/runs?include_children=true").json()["total_cost"] == 15.0


@pytest.mark.parametrize(
    ("query", "total"),
    [
        ("start_date=2026-10-02", 6.0),
        ("end_date=2026-10-01", 1.0),
        ("start_date=2026-10-01&end_date=2026-10-01", 1.0),
        ("start_date=2026-10-01&end_date=2026-10-02", 3.0),
        ("start_date=2026-10-02T12:00:00Z", 6.0),
        ("start_date=2026-10-02T12:00:00.000001Z", 4.0),
        ("end_date=2026-10-02T12:00:00Z", 1.0),
        ("end_date=2026-10-02T11:59:59.999999", 1.0),
        ("end_date=2026-10-02T14:00:00.000001%2B02:00", 3.0),
        ("end_date=2026-10-02T14:00:01+02:00", 3.0),
        ("end_date=2026-10-02T23:59:59Z", 3.0),
        ("start_date=2026-11-01", 0.0),
    ],
)
def test_dates_bound_the_costs_and_a_last_day_is_whole(api: APIClient, send: Send, query: str, total: float) -> None:
    send(
        call("a", "1", occurred_at="2026-10-01T23:59:59.999999Z"),
        call("a", "2", occurred_at="2026-10-02T12:00:00Z"),
        call("a", "4", occurred_at="2026-10-03T00:00:00Z"),
    )

    assert api.get(f"/costs/runs?{query}").json()["total_cost"] == total


def test_an_empty_parameter_is_an_absent_one(api: APIClient, send: Send) -> None:
    send(call("a", "1"))

    assert api.get("/costs/runs?workflow_id=&start_date=&end_date=").json()["total_cost"] == 1.0


def test_dates_bound_the_costs_of_children_too(api: APIClient, send: Send) -> None:
    send(
        call("root", "1", workflow_id="wf", occurred_at="2026-10-02T00:00:00Z"),
        call("child", "2", parent_run_id="root", occurred_at="2026-10-01T00:00:00Z"),
    )

    query = "/costs/runs?workflow_id=wf&include_children=true&start_date=2026-10-02"
    assert api.get(query).json()["total_cost"] == 1.0


def test_amounts_without_a_service_or_group_still_add_up(api: APIClient, send: Send) -> None:
    send(
        call("r", "1", service="", model=""),
        call("r", "2", service="openai", model=""),
        call("r", "4", service="openai", model="gpt-4", cost_group="assistants"),
        {"run_id": "r", "kind": "tool_call", "tool": "search", "cost_usd": "8"},
    )

    answer = api.get("/costs/runs/r").json()

    assert answer["costs_by_group"] == {"default": {"default": 9.0}, "openai": {"default": 2.0, "assistants": 4.0}}
    for service, amount in answer["costs_by_service"].items():
        assert sum(answer["costs_by_group"][service].values()) == amount
    assert sum(answer["costs_by_service"].values()) == answer["total_cost"] == 15.0


def test_unpriced_events_are_reported_in_a_header_and_not_counted_as_zero(api: APIClient, send: Send) -> None:
    send(call("r", "1"), {"run_id": "r", "model": "unheard-of", "input_tokens": 5})

    response = api.get("/costs/runs/r")

    assert response.json()["total_cost"] == 1.0
    assert response["X-Costtrack-Unpriced-Events"] == "1"
    assert response["X-Costtrack-As-Of"].endswith("Z")


def test_an_event_that_was_priced_later_is_no_longer_reported_as_unpriced(
    api: APIClient, organization: Organization, send: Send
) -> None:
    send(*({"run_id": run, "session_id": run, "model": "later", "input_tokens": 1_000_000} for run in "abc"))
    send({"run_id": "b", "session_id": "b", "kind": "session_summary", "cost_usd": "2"})
    assert [api.get(f"/costs/runs/{run}")["X-Costtrack-Unpriced-Events"] for run in "abc"] == ["1", "0", "1"]

    set_price("later", input="3")
    price_unpriced(organization=organization, now=NOW)

    assert api.get("/costs/runs")["X-Costtrack-Unpriced-Events"] == "0"
    assert api.get("/costs/runs").json()["total_cost"] == 3.0 + 2.0 + 3.0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("start_date=soon", "start_date"),
        ("end_date=2026-13-01", "end_date"),
        ("end_date=2026-02-30T00:00:00Z", "end_date"),
        ("start_date=0001-01-01", "start_date"),
        ("end_date=9999-12-31", "end_date"),
        ("start_date=2026-10-02&end_date=2026-10-01", "end_date"),
        ("include_children=perhaps", "include_children"),
        ("workflow_id=" + "x" * 256, "workflow_id"),
        ("workflow_id=a%00b", "workflow_id"),
    ],
)
def test_bad_parameters_are_named(api: APIClient, query: str, field: str) -> None:
    response = api.get(f"/costs/runs?{query}")

    assert response.status_code == 422, response.content
    (error,) = response.json()["detail"]
    assert error["loc"] == ["query", field]
    assert error["msg"]
    assert error["type"]


@pytest.mark.parametrize("run", ["with/slash", "with space", "ünïcode", "..", "a%2Fb?"])
def test_any_run_id_can_be_requested(api: APIClient, send: Send, run: str) -> None:
    from urllib.parse import quote

    send(call(run, "1"))

    assert api.get(f"/costs/runs/{quote(run, safe='')}").json()["total_cost"] == 1.0


def test_a_nul_in_the_path_is_an_unknown_run(api: APIClient) -> None:
    assert api.get("/costs/runs/a%00b").status_code == 404


def test_runs_of_another_organization_are_unknown(
    api: APIClient, other_api: APIClient, other_organization: Organization, send: Send
) -> None:
    send(call("shared", "1", workflow_id="wf"))
    send(call("shared", "2", workflow_id="wf"), call("theirs", "4", parent_run_id="shared"), to=other_organization)

    assert api.get("/costs/runs/shared?include_children=true").json()["total_cost"] == 1.0
    assert api.get("/costs/runs").json()["total_cost"] == 1.0
    assert api.get("/costs/runs?workflow_id=wf").json()["total_cost"] == 1.0
    assert api.get("/costs/runs/theirs").status_code == 404
    assert other_api.get("/costs/runs/shared?include_children=true").json()["total_cost"] == 6.0


def test_who_may_read(organization: Organization, owner: User, viewer: User, stranger: User, send: Send) -> None:
    send(call("r", "1"))
    assert APIClient().get("/costs/runs/r").status_code == 401
    assert make_key(organization, Scope.USAGE_WRITE).client().get("/costs/runs/r").status_code == 403
    for user in (owner, viewer):
        client = Client()
        client.force_login(user)
        assert client.get("/costs/runs/r").json()["total_cost"] == 1.0
    foreign = Client()
    foreign.force_login(stranger)
    assert foreign.get("/costs/runs/r").status_code == 404


def test_a_plan_without_api_says_what_would_allow_it(api: APIClient, organization: Organization) -> None:
    organization.plan_id = "free"
    organization.save(update_fields=["plan"])

    response = api.get("/costs/runs")

    assert response.status_code == 403
    assert "Pay as you go" in response.json()["detail"]


def test_the_number_of_queries_is_fixed(
    api: APIClient, send: Send, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    send(*(call(f"r{number}", "1", parent_run_id="r0") for number in range(1, 100)))
    for _ in range(2):
        api.get("/costs/runs")  # the first use of a key notes the time, and the next one remembers it

    # The credential's version; the tenant scope, in a savepoint here: begin, enter, leave, end. The ledger's state; the
    # rollup's table with the sums of unfolded events, which are cached.
    with django_assert_num_queries(1 + 4 + 1 + 1):
        api.get("/costs/runs?include_children=true")
    with django_assert_num_queries(1 + 4 + 1 + 1):
        api.get("/costs/runs/r0?include_children=true")
    with django_assert_num_queries(1 + 4 + 1):
        api.get("/costs/runs/r0?include_children=true")
