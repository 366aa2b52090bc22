"""`/usage/outcomes`: what a success costs, and what failures, retries and abandoned runs cost."""

from datetime import timedelta
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.models import Outcome
from billing.reports.usage.figures import GroupBy
from billing.rollups.fold import fold
from costtrack.clock import iso, utc_now

URL, COSTS = "/usage/outcomes", "/usage/outcomes/costs"


def spend(api: APIClient, usd: str, *, hours_ago: int = 48, **fields: Any) -> None:
    at = iso(utc_now() - timedelta(hours=hours_ago))
    answer = api.post("/usage/events", {"kind": "compute", "cost_usd": usd, "occurred_at": at, **fields})
    assert answer.json()["accepted"] == 1, answer.content


def report(api: APIClient, *outcomes: dict[str, Any]) -> list[str]:
    answer = api.post(URL, list(outcomes))
    assert answer.status_code == 200, answer.content
    return [result["state"] for result in answer.json()["results"]]


def outcome(run: str, success: bool = True, **fields: Any) -> dict[str, Any]:  # noqa: FBT001, FBT002 - reads better
    return {"run_id": run, "name": "resolved", "success": success, **fields}


def costs(api: APIClient, query: str = "") -> Any:
    answer = api.get(f"{COSTS}?{query}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def states(row: Any) -> dict[str, tuple[int, str]]:
    """The states with work, as count and cost."""
    names = ("succeeded", "failed", "abandoned", "open", "untracked", "other")
    work = {name: (row[name]["count"], row[name]["cost_usd"]) for name in names}
    return {name: value for name, value in work.items() if value != (0, "0")}


def test_the_states_add_up_to_all_usage_and_a_success_pays_for_failed_and_abandoned_work(api: APIClient) -> None:
    flow: dict[str, Any] = {"workflow_id": "tickets", "model": "m"}
    spend(api, "1", run_id="won", **flow, team="core")
    spend(api, "2", run_id="lost", **flow, status="failure")
    spend(api, "4", run_id="left", **flow)
    spend(api, "8", run_id="going", **flow, hours_ago=1)
    spend(api, "16", run_id="elsewhere", workflow_id="batch")
    spend(api, "32")
    report(api, outcome("won", value_usd="100.5", attempt=2), outcome("lost", success=False))

    for _ in range(2):
        body = costs(api, "group_by=workflow")
        assert states(body["total"]) == {
            "succeeded": (1, "1"),
            "failed": (1, "2"),
            "abandoned": (1, "4"),
            "open": (1, "8"),
            "untracked": (1, "16"),
            "other": (0, "32"),
        }
        total = body["total"]
        assert total["cost_usd"] == "63" == api.get("/usage/summary").json()["cost_usd"]
        assert (total["cost_per_success_usd"], total["success_rate"], total["value_usd"]) == ("7", 0.333333, "100.5")
        assert (total["retries"], total["failed_calls_usd"]) == ({"count": 1, "cost_usd": "1"}, "2")
        assert [row["workflow"] for row in body["results"]] == ["", "batch", "tickets"]
        fold(now=utc_now())
    teams = {row["team"]: row["cost_per_success_usd"] for row in costs(api, "group_by=team")["results"]}
    assert teams == {"": None, "core": "1"}


def test_late_outcomes_and_late_usage_count_as_if_they_had_been_in_time(api: APIClient) -> None:
    spend(api, "1", run_id="a")
    spend(api, "2", run_id="b")
    report(api, outcome("b"))
    assert states(costs(api)["total"]) == {"succeeded": (1, "2"), "abandoned": (1, "1")}
    report(api, outcome("a"))
    spend(api, "4", run_id="a")
    assert states(costs(api)["total"]) == {"succeeded": (2, "7")}
    fold(now=utc_now())
    spend(api, "0.000000000000000001", run_id="a", hours_ago=0)
    assert states(costs(api)["total"]) == {"succeeded": (2, "7.000000000000000001")}


def test_an_outcome_covers_the_runs_below_and_the_nearest_one_counts(api: APIClient) -> None:
    spend(api, "1", run_id="root", parent_run_id="leaf")  # a circle
    spend(api, "2", run_id="child", parent_run_id="root")
    spend(api, "4", run_id="leaf", parent_run_id="child", session_id="s")
    spend(api, "8", run_id="leaf", parent_run_id="child")
    report(api, outcome("root"))
    assert states(costs(api)["total"]) == {"succeeded": (1, "15")}
    report(api, outcome("child", success=False))
    assert states(costs(api)["total"]) == {"succeeded": (1, "1"), "failed": (1, "14")}
    report(api, {"session_id": "s", "name": "resolved", "success": True})
    assert states(costs(api)["total"]) == {"succeeded": (2, "5"), "failed": (1, "10")}


def test_a_parent_is_open_while_one_of_its_runs_has_usage(api: APIClient) -> None:
    spend(api, "1", run_id="done")
    spend(api, "1", run_id="child", parent_run_id="parent")
    spend(api, "1", run_id="child", parent_run_id="parent", hours_ago=1)
    report(api, outcome("done"))
    day_before = (utc_now() - timedelta(hours=36)).isoformat().replace("+00:00", "Z")
    body = costs(api, f"start_date={iso(utc_now() - timedelta(days=9))}&end_date={day_before}")
    assert states(body["total"]) == {"succeeded": (1, "1"), "open": (1, "1")}


def test_only_outcomes_of_the_given_name_count(api: APIClient) -> None:
    spend(api, "1", run_id="a")
    spend(api, "2", run_id="b")
    report(api, outcome("a"), {**outcome("b"), "name": "rated"}, {**outcome("a", success=False), "name": "rated"})
    assert states(costs(api, "outcome=rated")["total"]) == {"succeeded": (1, "2"), "failed": (1, "1")}
    assert states(costs(api)["total"]) == {"succeeded": (2, "3")}


def test_of_several_reports_the_one_of_the_latest_time_counts_in_any_order(api: APIClient) -> None:
    now = utc_now()
    sent = [
        outcome("r", success=bool(number % 2), attempt=number + 1, occurred_at=iso(now - timedelta(hours=9 - number)))
        for number in range(3)
    ]
    for order in permutations(sent):
        Outcome.objects.all().delete()
        for record in order[:1]:
            assert report(api, record) == ["accepted"]
        report(api, *order[1:])
        assert Outcome.objects.get().attempt == 3
    assert report(api, sent[2]) == ["duplicate"]
    assert report(api, sent[0]) == ["outdated"]
    assert report(api, outcome("r", success=True), outcome("r", success=True)) == ["duplicate", "updated"]


def test_a_record_has_an_id_or_is_one_of_its_run_and_name(api: APIClient) -> None:
    assert report(api, outcome("r"), outcome("r", id="1"), outcome("r", id="2")) == ["accepted"] * 3
    assert report(api, outcome(" r "), outcome("r", id="1")) == ["duplicate"] * 2
    headers = {"Idempotency-Key": "again"}
    first, second = (api.post(URL, outcome("r", success=False), headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a", "success": True}, "run_id"),
        ({"run_id": "r", "session_id": "s", "name": "a", "success": True}, "run_id"),
        ({"run_id": "r", "name": " ", "success": True}, "name"),
        ({"run_id": "r", "name": "a"}, "success"),
        ({"run_id": "r", "name": "a", "success": True, "value_usd": -1}, "value_usd"),
        ({"run_id": "r", "name": "a", "success": True, "attempt": 0}, "attempt"),
        ({"run_id": "r", "name": "a", "success": True, "occurred_at": "2199-01-01"}, "occurred_at"),
        ({"run_id": "r", "name": "a", "success": True, "other": 1}, "other"),
        ([], "non_field_errors"),
    ],
)
def test_an_invalid_report_is_refused_with_its_field(api: APIClient, body: Any, field: str) -> None:
    answer = api.post(URL, body)
    assert answer.status_code == 422
    assert field in answer.content.decode() or "empty" in answer.content.decode()
    assert not Outcome.objects.exists()


def test_outcomes_are_listed_to_the_end_and_only_those_of_the_organization(
    api: APIClient, other_api: APIClient
) -> None:
    report(other_api, outcome("theirs"))
    for number in range(5):
        report(api, outcome(f"run-{number}", success=number != 3))
    runs: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.get(f"{URL}?limit=2&cursor={cursor}").json()
        runs += [row["run_id"] for row in page["results"]]
        cursor = page["next_cursor"]
    assert runs == [f"run-{number}" for number in (4, 3, 2, 1, 0)]
    assert [row["run_id"] for row in api.get(f"{URL}?success=false").json()["results"]] == ["run-3"]
    assert api.get(f"{URL}?cursor=x").status_code == api.get(f"{COSTS}?cursor=x").status_code == 422
    spend(other_api, "9", run_id="run-1")
    assert states(costs(api)["total"]) == {}


def test_groups_are_paged_to_the_end_and_add_up(api: APIClient) -> None:
    for number in range(4):
        spend(api, "1", run_id=f"r{number}", agent_id=f"a{number}")
    names: list[str] = []
    cursor: str | None = ""
    total = Decimal(0)
    while cursor is not None:
        page = costs(api, f"group_by={GroupBy.AGENT}&limit=3&cursor={cursor}")
        names += [row["agent"] for row in page["results"]]
        total += sum(Decimal(row["cost_usd"]) for row in page["results"])
        cursor = page["next_cursor"]
    assert (names, total) == (["a0", "a1", "a2", "a3"], 4)
