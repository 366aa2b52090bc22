"""Runs walked: the list with its filters, a branch that is opened, and a run, beside `GET /costs/runs/...`."""

from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.history import ODD, at_five_past_midnight, gateway, history
from tests.browser.test_every_page import DESK
from tests.browser.walks import (
    Rows,
    all_pages,
    answer,
    click,
    columns,
    count,
    dollars,
    figures,
    fill,
    follow,
    rows,
    start,
)

__all__ = ["at_five_past_midnight", "gateway", "history"]  # fixtures from another module

pytestmark = pytest.mark.usefixtures("history")

KINDS = {"model_call": "Model call", "tool_call": "Tool call", "adjustment": "Adjustment"}
NIGHTS = tuple(f"night-{number}" for number in range(4))


def test_trees_and_runs_cost_what_the_api_says(browse: Browse, operator: User, api: APIClient) -> None:
    runs = Runs(api)
    page = browse(operator, viewport=DESK)
    start(page)
    follow(page, "Runs")
    assert_listed(page, runs, *NIGHTS, ODD)
    below = ["night-2", *(f"night-2/part-{part}" for part in (1, 2, 3))]
    for run_id, child in pairwise(below):
        page.get_by_role("button", name=f"Runs below {run_id}", exact=True).click()
        expect(page.get_by_role("link", name=child, exact=True)).to_be_visible()
    assert_listed(page, runs, *NIGHTS, *below[1:], ODD)

    fill(page, Workflow_id="nightly")
    expect(page.get_by_role("heading", name="Runs of nightly")).to_be_visible()
    assert_listed(page, runs, *NIGHTS, *(f"{night}/part-{part}" for night in NIGHTS for part in (1, 2, 3)))
    fill(page, Workflow_id="", Run_id=ODD)
    assert_listed(page, runs, ODD)
    click(page, ODD)
    assert_run(page, runs, ODD)
    page.go_back()
    fill(page, Run_id="night-1/part-1")
    click(page, "night-1/part-1")
    assert_run(page, runs, "night-1/part-1")
    click(page, "Its calls")
    assert len(rows(page, "Model calls")) == len(runs.calls["night-1/part-1"])


class Runs:
    """What the API says of runs. It tells costs; calls are counted in `GET /usage/requests`."""

    def __init__(self, api: APIClient) -> None:
        self.api = api
        self.events = all_pages(api, "/usage/events")
        named = {event["id"]: event["run_id"] for event in self.events}
        self.calls: dict[str, list[dict[str, Any]]] = {run_id: [] for run_id in named.values()}
        for call in all_pages(api, "/usage/requests", range="90d"):
            self.calls[named[call["id"]]].append(call)

    def costs(self, run_id: str, *, with_children: bool) -> dict[str, Any]:
        path = f"/costs/runs/{quote(run_id, safe='')}"
        costs: dict[str, Any] = answer(self.api, path, include_children=str(with_children).lower())
        return costs

    def cells(self, run_id: str, *, with_children: bool) -> list[str]:
        """Cost, requests and tokens; what was voided is in none."""
        below = self.below(run_id) if with_children else []
        calls = [call for one in (run_id, *below) for call in self.calls[one] if not call["voided"]]
        tokens = sum(call["total_tokens"] for call in calls)
        cost = self.costs(run_id, with_children=with_children)["total_cost"]
        return [dollars(cost), count(len(calls)), count(tokens)]

    def all_cells(self, run_id: str) -> list[str]:
        return [*self.cells(run_id, with_children=False), *self.cells(run_id, with_children=True)]

    def below(self, run_id: str) -> list[str]:
        """Each part of a night has begun the next one."""
        night, _, part = run_id.partition("/part-")
        return [f"{night}/part-{one}" for one in range(int(part or 0) + 1, 4)] if night in NIGHTS else []


def listed_costs(page: Page) -> dict[str, list[str]]:
    """Cost, requests and tokens of each run, alone and with those below it."""
    shown: Rows = rows(page, "Runs, with what they cost")
    names = [cells[0].removeprefix("chevron_right").strip().partition("\n")[0] for cells in shown]
    return {name: [cell.partition("\n")[0] for cell in cells[2:]] for name, cells in zip(names, shown, strict=True)}


def assert_listed(page: Page, runs: Runs, *expected: str) -> None:
    """Whatever their order: all of them came in together."""
    assert listed_costs(page) == {run_id: runs.all_cells(run_id) for run_id in expected}


def assert_cost(page: Page, runs: Runs, run_id: str) -> None:
    assert listed_costs(page)[run_id] == runs.all_cells(run_id)


def assert_run(page: Page, runs: Runs, run_id: str) -> None:
    for title, with_children in (("This run alone", False), ("With all runs below it", True)):
        told = runs.costs(run_id, with_children=with_children)
        assert figures(page)[title] == dollars(told["total_cost"])
        shown = columns(page, f"{title}, by service and group", "Service and group", "Cost")
        expected = [
            [name, dollars(cost)]
            for service, whole in told["costs_by_service"].items()
            for name, cost in ((service, whole), *told["costs_by_group"][service].items())
        ]
        assert shown == expected
    events = answer(runs.api, "/usage/events", run_id=run_id, limit=20)["results"]
    listed = columns(page, "The newest events of this run", "Model", "Kind", "Tokens out")
    assert listed == [
        [event["model"] or event["tool"], KINDS[event["kind"]], count(event["output_tokens"])] for event in events
    ]
