"""Runs: trees whose branches open and close by mouse and by keyboard, the filters of the list, and a run's page, beside
`GET /costs/runs/...`.
"""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from costtrack.clock import utc_now
from costtrack.organization_paths import organization_url
from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.history import ODD
from tests.browser.plain_pages import PlainPage
from tests.browser.walks import (
    all_pages,
    answer,
    columns,
    count,
    dollars,
    figures,
    fill,
    follow,
    rows,
    start,
    table,
)
from tests.html import Element
from tests.usage import Send

KINDS = {"model_call": "Model call", "tool_call": "Tool call", "adjustment": "Adjustment"}
AWKWARD = "etl/2026-11-02 #1?x=100%"
NIGHTS = tuple(f"night-{number}" for number in range(4))


@pytest.mark.usefixtures("history")
def test_trees_and_runs_cost_what_the_api_says(operator: User, api: APIClient) -> None:
    runs = Runs(api)
    page = PlainPage(operator)
    start(page)
    follow(page, "Runs")
    assert_listed(page, runs, *NIGHTS, ODD)
    branch = page.find("Runs below night-2", "button")["data-branch"]
    for child in (f"night-2/part-{part}" for part in (1, 2, 3)):
        below = page.fragment(branch)
        assert costs_in(below) == {child: runs.all_cells(child)}
        branch = next((button["data-branch"] for button in below.all("button[data-branch]")), "")
    assert branch == ""

    fill(page, Workflow_id="nightly")
    assert "Runs of nightly" in page.headings()
    assert_listed(page, runs, *NIGHTS, *(f"{night}/part-{part}" for night in NIGHTS for part in (1, 2, 3)))
    fill(page, Workflow_id="", Run_id=ODD)
    assert_listed(page, runs, ODD)
    page.click(ODD)
    assert page.url == unquote(organization_url("acme", "run", ODD))
    assert ODD in page.heading
    assert_run(page, runs, ODD)
    page.back()
    fill(page, Run_id="night-1/part-1")
    page.click("night-1/part-1")
    assert_run(page, runs, "night-1/part-1")
    page.click("View calls")
    assert len(rows(page, "Model calls")) == len(runs.calls["night-1/part-1"])
    page.back()
    page.click("night-1", within="nav[aria-label='Parent runs']")
    assert "Run night-1" in page.heading
    page.goto(table(page, "The newest events of this run").first("a[href]")["href"])
    assert "Cost" in page.headings()


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
        calls = [call for item in (run_id, *below) for call in self.calls[item] if not call["voided"]]
        tokens = sum(call["total_tokens"] for call in calls)
        cost = self.costs(run_id, with_children=with_children)["total_cost"]
        return [dollars(cost), count(len(calls)), count(tokens)]

    def all_cells(self, run_id: str) -> list[str]:
        return [*self.cells(run_id, with_children=True), *self.cells(run_id, with_children=False)]

    def below(self, run_id: str) -> list[str]:
        """Each part of a night has begun the next one."""
        night, _, part = run_id.partition("/part-")
        return [f"{night}/part-{item}" for item in range(int(part or 0) + 1, 4)] if night in NIGHTS else []


def listed_costs(page: PlainPage) -> dict[str, list[str]]:
    """Cost, requests and tokens of each run, with those below it and alone."""
    return costs_in(table(page, "Runs with costs").first("tbody"))


def costs_in(part: Element) -> dict[str, list[str]]:
    found = {}
    for row in part.all("tr"):
        cells = [cell.lines for cell in row.elements]
        found[cells[0][0]] = [lines[0] for lines in cells[1:-1]]
    return found


def assert_listed(page: PlainPage, runs: Runs, *expected: str) -> None:
    """Whatever their order: all of them came in together."""
    assert listed_costs(page) == {run_id: runs.all_cells(run_id) for run_id in expected}


def assert_cost(page: PlainPage, runs: Runs, run_id: str) -> None:
    assert listed_costs(page)[run_id] == runs.all_cells(run_id)


def assert_run(page: PlainPage, runs: Runs, run_id: str) -> None:
    for title, with_children in (("This run only", False), ("With child runs", True)):
        reported = runs.costs(run_id, with_children=with_children)
        assert figures(page)[title] == dollars(reported["total_cost"])
        shown = columns(page, f"{title}, by service and group", "Service and group", "Cost")
        expected = [
            [name, dollars(cost)]
            for service, whole in reported["costs_by_service"].items()
            for name, cost in ((service, whole), *reported["costs_by_group"][service].items())
        ]
        assert shown == expected
    events = answer(runs.api, "/usage/events", run_id=run_id, limit=20)["results"]
    listed = columns(page, "The newest events of this run", "Model", "Kind", "Tokens out")
    assert listed == [
        [event["model"] or event["tool"], KINDS[event["kind"]], count(event["output_tokens"])] for event in events
    ]


# --- Branches --------------------------------------------------------------------------------------------------


def call(now: datetime, run_id: str, cost: str, parent: str = "", **others: Any) -> dict[str, Any]:
    at = (now - timedelta(minutes=5)).isoformat()
    reported = {"run_id": run_id, "cost_usd": cost, "service": "openai", "model": "gpt-5", "occurred_at": at, **others}
    return {**reported, "parent_run_id": parent} if parent else reported


@pytest.fixture
def tree(send: Send) -> None:
    """Three levels, one of them wide."""
    now = utc_now()
    send(
        call(now, "nightly", "1", workflow_id="report"),
        call(now, AWKWARD, "0.5", "nightly"),
        call(now, "draft", "0.25", AWKWARD),
        *(call(now, f"part-{number:02}", "0.01", "draft") for number in range(60)),
        now=now,
    )


def row(page: Page, run_id: str) -> Any:
    return page.locator("table.ct-runs tbody tr", has=page.get_by_role("link", name=run_id, exact=True))


def button(page: Page, run_id: str) -> Any:
    return page.get_by_role("button", name=f"Runs below {run_id}", exact=True)


@pytest.mark.usefixtures("tree")
def test_branches_open_by_level_close_together_and_stay_as_they_are(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto("/o/acme/admin/runs/")
    expect(page.locator("table.ct-runs tbody tr")).to_have_count(1)
    expect(row(page, "nightly")).to_contain_text("$2.35")

    button(page, "nightly").click()
    expect(button(page, "nightly")).to_have_attribute("aria-expanded", "true")
    button(page, AWKWARD).focus()
    page.keyboard.press("Enter")
    expect(row(page, "draft")).to_contain_text("$0.85")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(button(page, "draft")).to_be_focused()
    page.keyboard.press("Space")
    expect(row(page, "part-00")).to_be_visible()
    expect(row(page, "part-59")).to_have_count(0)
    page.get_by_role("button", name="Show more runs").click()
    expect(row(page, "part-59")).to_be_visible()
    expect(page.get_by_role("button", name="Show more runs")).to_have_count(0)

    button(page, AWKWARD).click()
    expect(row(page, "draft")).to_be_hidden()
    button(page, "nightly").click()
    expect(row(page, AWKWARD)).to_be_hidden()
    button(page, "nightly").click()
    expect(row(page, AWKWARD)).to_be_visible()
    expect(row(page, "draft")).to_be_hidden()
    expect(row(page, "part-00")).to_be_hidden()
    button(page, AWKWARD).click()
    expect(row(page, "part-00")).to_be_visible()

    # A refresh of the page disturbs nobody who reads an opened tree.
    page.evaluate("document.activeElement.blur()")
    page.evaluate("htmx.ajax('GET', location.href, {source: '#live', target: '#live', swap: 'innerHTML'})")
    page.wait_for_load_state("networkidle")
    expect(row(page, AWKWARD)).to_be_visible()
