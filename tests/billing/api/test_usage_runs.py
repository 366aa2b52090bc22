"""`GET /usage/runs`: the list of workflow runs, to its end."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from rest_framework.test import APIClient

from billing.models import Run
from billing.rollups.fold import fold
from costtrack.clock import iso
from organizations.models import Organization
from tests.usage import NOW, Send

pytestmark = pytest.mark.django_db

_ZERO = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost_usd": "0", "unpriced_events": 0}


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def runs(send: Send, other_organization: Organization) -> None:
    """Root `a` with the children `a/1` and `a/2`, and `b`, which arrives two days later than its calls."""
    tool = {"kind": "tool_call", "tool": "t"}
    at = NOW - timedelta(days=3)
    send({**tool, "run_id": "a", "workflow_id": "nightly", "compute_cost_usd": "1"}, now=at)
    for name in ("a/1", "a/2"):
        send({**tool, "run_id": name, "parent_run_id": "a", "compute_cost_usd": "0.5"}, now=at + timedelta(minutes=1))
    call = {"model": "m", "input_tokens": 7, "output_tokens": 2, "cost_usd": "0.25"}
    late = {"run_id": "b", "model": "m", "occurred_at": iso(at + timedelta(minutes=5))}
    send({**call, "run_id": "b", "occurred_at": iso(at)}, late, now=at + timedelta(days=2))
    send({**tool, "run_id": "foreign"}, to=other_organization, now=at)


def listed(api: APIClient, query: str = "") -> Any:
    response = api.get(f"/usage/runs?{query}")
    assert response.status_code == 200, response.content
    return response.json()


def ids(api: APIClient, query: str = "") -> list[str]:
    return [row["run_id"] for row in listed(api, query)["results"]]


@pytest.mark.usefixtures("runs")
def test_runs_have_their_own_costs_and_those_of_their_descendants(api: APIClient) -> None:
    body = listed(api)
    assert body["next_cursor"] is None
    latest, *_, root = body["results"]
    assert latest == {
        "run_id": "b",
        "parent_run_id": None,
        "workflow_id": None,
        "first_seen_at": latest["first_seen_at"],
        "first_event_at": "2026-10-30T12:00:00Z",
        "last_event_at": "2026-10-30T12:05:00Z",
        "own": {**_ZERO, "requests": 2, "prompt_tokens": 7, "completion_tokens": 2, "cost_usd": "0.25"}
        | {"unpriced_events": 1},
        "total": latest["own"],
        "descendants": 0,
        "is_truncated": False,
    }
    assert (root["run_id"], root["workflow_id"], root["descendants"]) == ("a", "nightly", 2)
    assert (root["own"]["cost_usd"], root["total"]["cost_usd"]) == ("1", "2")
    fold(now=NOW)
    assert listed(api) == body


@pytest.mark.usefixtures("runs")
def test_filters_and_dates_of_the_organization(api: APIClient, organization: Organization) -> None:
    assert ids(api) == ["b", "a/2", "a/1", "a"]
    assert ids(api, "is_root=true") == ["b", "a"]
    assert ids(api, "is_root=false") == ["a/2", "a/1"]
    assert ids(api, "parent_run_id=%20a") == ["a/2", "a/1"]
    assert ids(api, "workflow_id=nightly") == ["a"]
    assert ids(api, "workflow_id=&parent_run_id=&cursor=") == ["b", "a/2", "a/1", "a"]
    day = NOW - timedelta(days=3)
    assert ids(api, f"end_date={day:%Y-%m-%d}") == ["a/2", "a/1", "a"]
    assert ids(api, f"start_date={day + timedelta(days=1):%Y-%m-%d}") == ["b"]
    organization.time_zone = "Pacific/Kiritimati"  # where noon UTC is the next day
    organization.save()
    assert ids(api, f"end_date={day:%Y-%m-%d}") == []


def test_the_cursor_leads_to_the_end_with_equal_times(api: APIClient, send: Send) -> None:
    tool = {"kind": "tool_call", "tool": "t"}
    send(*({**tool, "run_id": f"run-{number}"} for number in range(7)), now=NOW)
    found: list[str] = []
    page: Any = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        page = listed(api, f"limit=2&cursor={page['next_cursor']}")
        found += [row["run_id"] for row in page["results"]]
        send({**tool, "run_id": f"later-{len(found)}"}, now=NOW)
    assert sorted(found) == [f"run-{number}" for number in range(7)]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("is_root=maybe", "is_root"),
        ("start_date=2026-W48", "start_date"),
        ("start_date=2026-10-02&end_date=2026-10-01", "end_date"),
        ("cursor=x", "cursor"),
        ("cursor=bm90LWEtbnVtYmVyAAZFAAAAAAA=", "cursor"),
        ("user_id=ada", "user_id"),
    ],
)
def test_wrong_parameters_are_refused(api: APIClient, query: str, param: str) -> None:
    response = api.get(f"/usage/runs?{query}")
    assert (response.status_code, list(response.json()["fields"])) == (422, [param])


def test_names_with_nul_find_nothing_or_are_refused(api: APIClient) -> None:
    assert api.get("/usage/runs?workflow_id=a%00b").status_code in (200, 422)


@pytest.mark.usefixtures("runs")
def test_runs_before_the_history_of_the_plan_are_left_out(api: APIClient, organization: Organization) -> None:
    organization.plan.history_days = 1
    organization.plan.save()
    assert ids(api) == ["b"]
    assert Run.objects.of(organization).count() == 4
    refused = api.get("/usage/runs?end_date=2020-01-01")
    assert (refused.status_code, refused.json()["code"]) == (403, "plan_history")
