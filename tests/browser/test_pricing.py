"""The pricing page: its filters, its chart and the history of groups, beside what `POST /system/pricing` and
`/system/groups` answer."""

import re
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.history import UTC_PERIODS
from tests.browser.screens import DESK, assert_fits_a_hand
from tests.browser.walks import (
    chart,
    choose,
    clear,
    click,
    columns,
    count,
    dollars,
    drawn_by_label,
    figures,
    fill_period,
    follow,
    leaving,
    posted,
    rows,
    share,
    start,
)

pytestmark = pytest.mark.usefixtures("history")

Body = dict[str, Any]


def test_the_page_says_what_the_api_says_whatever_is_filtered(browse: Browse, owner: User, api: APIClient) -> None:
    page = browse(owner, viewport=DESK)
    start(page)
    follow(page, "Pricing")
    assert_pricing(page, api)
    body: Body = dict(UTC_PERIODS["30d"])
    for head, order in (("Cost", "total_cost"), ("Tokens", "total_tokens"), ("Runs", "run_count"), ("When", "date")):
        with leaving(page):
            table_head(page, head).click()
        expect(page.get_by_role("columnheader", name=head).last).to_have_attribute("aria-sort", "descending")
        assert_groups(page, api, **body, sort_by=order)
    with leaving(page):
        table_head(page, "When").click()
    click(page, "Next")
    assert_groups(page, api, **body, sort_by="date", sort_order="asc", page=2)
    page.get_by_role("searchbox", name="Name or id of a group").fill("grading")
    with leaving(page):
        page.keyboard.press("Enter")
    assert "page=" not in page.url
    assert_groups(page, api, **body, sort_by="date", sort_order="asc", search="grading")
    session = page.get_by_role("region", name="Group history").get_by_role("link", name=re.compile("^session-")).first
    name = session.inner_text().strip()
    with leaving(page):
        session.click()
    expect(page.locator("#live")).to_contain_text(name)
    page.go_back()
    clear(page)
    expect(page).to_have_url(re.compile(r"pricing/$"))
    assert_pricing(page, api)
    assert_fits_a_hand(page)

    choose(page, Period="last_week")
    assert_pricing(page, api, **UTC_PERIODS["last_week"])
    body = dict(UTC_PERIODS["last_week"])
    options = posted(api, "/system/pricing", body)
    pick(page, "All models", "gpt-4.1", "claude-sonnet-4-5")
    expect(page.locator("summary", has_text="and 1 more")).to_be_visible()
    body["model_ids"] = ids(options["model_options"], "gpt-4.1", "claude-sonnet-4-5")
    assert_pricing(page, api, **body)
    pick(page, "All agents", "Grader")
    body["agent_ids"] = ids(options["agent_options"], "Grader")
    assert_pricing(page, api, **body)
    fill_period(page, "2026-10-31", "2026-11-02")
    body |= {"start_date": "2026-10-31", "end_date": "2026-11-02"}
    assert_pricing(page, api, **body)
    model, day = click_highest_bar(page)
    body |= {"start_date": day, "end_date": day, "model_ids": ids(options["model_options"], model)}
    assert_pricing(page, api, **body)


def click_highest_bar(page: Page) -> tuple[str, str]:
    """Of the chart's first model; returns its name and the bar's day."""
    name, day, x, y = chart(page).evaluate(
        """(canvas) => {
            const chart = Chart.getChart(canvas), { label, data } = chart.data.datasets[0];
            const at = data.indexOf(Math.max(...data));
            const { x, y } = chart.getDatasetMeta(0).data[at].getCenterPoint();
            return [label, chart.data.labels[at], x, y];
        }"""
    )
    with leaving(page):
        chart(page).click(position={"x": x, "y": y})
    return name, day


def pick(page: Page, button: str, *names: str) -> None:
    """Several of a list of checkboxes, which acts when it is closed."""
    page.get_by_text(button, exact=True).first.click()
    before = page.url
    for name in names:
        page.get_by_role("checkbox", name=re.compile(rf"^{re.escape(name)}\s+[\d,]+$")).check()
    assert page.url == before
    with leaving(page):
        page.keyboard.press("Escape")


def ids(options: list[dict[str, Any]], *names: str) -> list[str]:
    return [option["value"] for option in options if option["label"] in names]


def table_head(page: Page, name: str) -> Any:
    return page.get_by_role("region", name="Group history").get_by_role("link", name=name, exact=True)


# --- The page beside the answers -------------------------------------------------------------------------------


def assert_pricing(page: Page, api: APIClient, **body: Any) -> None:
    body = body or dict(UTC_PERIODS["30d"])
    reported = posted(api, "/system/pricing", body)
    assert reported["daily"], body
    names = {uuid: model["name"] for uuid, model in reported["resources"]["models"].items()}
    days: dict[str, dict[str, Decimal]] = defaultdict(dict)
    runs: dict[str, int] = defaultdict(int)
    for item in reported["daily"]:
        name = names.get(item["model_id"], "No model")
        days[name][item["date_key"]] = Decimal(item["total_cost"])
        runs[name] += item["run_count"]
    costs = {name: sum(of_days.values(), Decimal()) for name, of_days in days.items()}
    whole = sum(costs.values(), Decimal())

    shown = figures(page)
    assert shown["Cost"] == dollars(whole)
    assert shown["Runs"] == count(reported["total_count"])
    assert shown["Cost per run"] == (dollars(whole / reported["total_count"]) if reported["total_count"] else "-")
    assert shown["Models"] == count(len(costs.keys() - {"No model"}))
    assert sorted(columns(page, "Model breakdown", "Model", "Runs", "Cost", "Share")) == sorted(
        [name, count(runs[name]), dollars(cost), share(cost, whole)] for name, cost in costs.items()
    ), body
    assert drawn_by_label(page) == {
        name: {day: float(cost) for day, cost in of_days.items() if cost} for name, of_days in days.items()
    }, body
    assert_groups(page, api, **body)


def assert_groups(page: Page, api: APIClient, /, **body: Any) -> None:
    reported = posted(api, "/system/groups", {"page_size": 25, **body})
    assert reported["data"], body
    heads = ("Runs", "Input", "Output", "Tokens", "Cost")
    assert columns(page, "Group history", *heads) == [
        [
            count(one["run_count"]),
            count(one["total_input_tokens"]),
            count(one["total_output_tokens"]),
            count(one["total_tokens"]),
            dollars(one["total_cost"]),
        ]
        for one in reported["data"]
    ], body
    assert [(cells[0].split("\n"), cells[1]) for cells in rows(page, "Group history")] == [
        ([one["group_name"], one["group_id"]], one["session_id"] or "-") for one in reported["data"]
    ], body
    first = (reported["page"] - 1) * 25 + 1
    between = f"{first} to {min(first + 24, reported['total_count'])} of {reported['total_count']}"
    expect(page.get_by_role("navigation", name="Pages of groups")).to_contain_text(between)
