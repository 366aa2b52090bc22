"""The pricing page: its filters, its chart and the history of groups, beside what `POST /system/pricing` and
`/system/groups` answer for the days of the organization."""

import re
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from costtrack.date_text import day_text
from organizations.models import User
from tests.browser import clicks
from tests.browser.conftest import Browse
from tests.browser.history import ZONE
from tests.browser.plain_pages import PlainPage
from tests.browser.screens import DESK, assert_fits_a_hand
from tests.browser.walks import (
    FILTERS,
    answer,
    choose,
    clear,
    columns,
    count,
    dollars,
    drawn_by_label,
    figures,
    fill_period,
    follow,
    posted,
    rows,
    share,
    start,
)

pytestmark = pytest.mark.usefixtures("history")

Body = dict[str, Any]

HISTORY = "[aria-label='Group history']"


def days(first: str, last: str) -> Body:
    """Days of the organization, both included, as exact times."""
    start, end = (datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(ZONE)) for day in (first, last))
    return {"start_date": start.isoformat(), "end_date": (end + timedelta(days=1)).isoformat()}


DAYS_30, LAST_WEEK = days("2026-10-04", "2026-11-02"), days("2026-10-26", "2026-11-01")


def test_the_page_equals_the_api_with_any_filter(owner: User, api: APIClient) -> None:
    page = PlainPage(owner)
    start(page)
    follow(page, "Pricing")
    assert_pricing(page, api)
    body: Body = dict(DAYS_30)
    for head, order in (
        ("Cost", "total_cost"),
        ("Tokens", "total_tokens"),
        ("Requests", "run_count"),
        ("When", "date"),
    ):
        page.click(head, within=HISTORY)
        assert [head["aria-sort"] for head in page.document.all(f"{HISTORY} th[aria-sort]")] == ["descending"]
        assert_groups(page, api, **body, sort_by=order)
    page.click("When", within=HISTORY)
    page.click("Next")
    assert_groups(page, api, **body, sort_by="date", sort_order="asc", page=2)
    page.fill("Name or id of a group", "grading")
    page.send(page.field("Name or id of a group").closest("form"))
    assert "page=" not in page.url
    assert_groups(page, api, **body, sort_by="date", sort_order="asc", search="grading")
    name = next(name for name in page.names("link", HISTORY) if name.startswith("session-"))
    page.click(name, within=HISTORY)
    assert name in page.document.first("#live").text
    page.back()
    clear(page)
    assert page.url.endswith("pricing/")
    assert_pricing(page, api)

    choose(page, Period="last_week")
    assert_pricing(page, api, **LAST_WEEK)
    body = dict(LAST_WEEK)
    options = posted(api, "/system/pricing", body)
    check(page, "gpt-4.1", "claude-sonnet-4-5")
    assert "and 1 more" in " ".join(summary.text for summary in page.document.all("summary"))
    body["model_ids"] = ids(options["model_options"], "gpt-4.1", "claude-sonnet-4-5")
    assert_pricing(page, api, **body)
    check(page, "Grader")
    body["agent_ids"] = ids(options["agent_options"], "Grader")
    assert_pricing(page, api, **body)
    fill_period(page, "2026-10-31", "2026-11-02")
    body |= days("2026-10-31", "2026-11-02")
    assert_pricing(page, api, **body)


def check(page: PlainPage, *names: str) -> None:
    """Several boxes of the lists of models and agents. Each name has its number of uses beside it."""
    for label in page.document.all(f"{FILTERS} li label"):
        if label.lines[0].rpartition(" ")[0] in names or label.lines[0] in names:
            label.first("input").attributes["checked"] = ""
    page.send(page.document.first(FILTERS))


def test_models_are_picked_in_the_browser_and_bars_lead_to_their_day(
    browse: Browse, owner: User, api: APIClient
) -> None:
    page = browse(owner, viewport=DESK)
    clicks.start(page)
    clicks.follow(page, "Pricing")
    clicks.assert_paints_what_was_sent(page)
    assert_fits_a_hand(page)
    clicks.choose(page, Period="last_week")
    pick(page, "All models", "gpt-4.1", "claude-sonnet-4-5")
    expect(page.locator("summary", has_text="and 1 more")).to_be_visible()
    clicks.assert_paints_what_was_sent(page)
    model, day = click_highest_bar(page)
    shown = PlainPage(owner)
    shown.goto(page.url)
    options = posted(api, "/system/pricing", LAST_WEEK)["model_options"]
    of_day: Body = {**days(day, day), "model_ids": ids(options, model)}
    assert_pricing(shown, api, **of_day)
    clicks.click(page, "Tokens")
    expect(page.get_by_role("columnheader", name="Tokens").last).to_have_attribute("aria-sort", "descending")
    page.get_by_role("searchbox", name="Name or id of a group").fill("grading")
    with clicks.leaving(page):
        page.keyboard.press("Enter")
    assert "search=grading" in page.url


def click_highest_bar(page: Page) -> tuple[str, str]:
    """Of the chart's first model; returns its name and the bar's day."""
    name, day, x, y = clicks.chart(page).evaluate(
        """(canvas) => {
            const chart = Chart.getChart(canvas), { label, data } = chart.data.datasets[0];
            const at = data.indexOf(Math.max(...data));
            const { x, y } = chart.getDatasetMeta(0).data[at].getCenterPoint();
            return [label, chart.data.labels[at], x, y];
        }"""
    )
    with clicks.leaving(page):
        clicks.chart(page).click(position={"x": x, "y": y})
    return name, f"{datetime.strptime(day, '%b %d, %Y'):%Y-%m-%d}"  # noqa: DTZ007 - a day


def pick(page: Page, button: str, *names: str) -> None:
    """Several of a list of checkboxes, which acts when it is closed."""
    page.get_by_text(button, exact=True).first.click()
    before = page.url
    for name in names:
        page.get_by_role("checkbox", name=re.compile(rf"^{re.escape(name)}\s+[\d,]+$")).check()
    assert page.url == before
    with clicks.leaving(page):
        page.keyboard.press("Escape")


def ids(options: list[dict[str, Any]], *names: str) -> list[str]:
    return [option["value"] for option in options if option["label"] in names]


# --- The page beside the answers -------------------------------------------------------------------------------


def _cost(name: str, cost: Decimal) -> str:
    """Nothing of the model `house-13b` has a price."""
    return "No price yet" if name == "house-13b" and not cost else dollars(cost)


def assert_pricing(page: PlainPage, api: APIClient, **body: Any) -> None:
    body = body or dict(DAYS_30)
    reported = posted(api, "/system/pricing", body)
    assert reported["daily"], body
    names = {uuid: model["name"] for uuid, model in reported["resources"]["models"].items()}
    costs: dict[str, Decimal] = defaultdict(Decimal)
    runs: dict[str, int] = defaultdict(int)
    for item in reported["daily"]:
        name = names.get(item["model_id"], "No model")
        costs[name] += Decimal(item["total_cost"])
        runs[name] += item["run_count"]
    whole = sum(costs.values(), Decimal())

    shown = figures(page)
    assert shown["Cost"] == dollars(whole)
    assert shown["Requests"] == count(reported["total_count"])
    assert shown["Cost per request"] == (dollars(whole / reported["total_count"]) if reported["total_count"] else "-")
    assert shown["Models"] == count(len(costs.keys() - {"No model"}))
    assert sorted(columns(page, "Model breakdown", "Model", "Requests", "Cost", "Share")) == sorted(
        [name, count(runs[name]), _cost(name, cost), share(cost, whole)] for name, cost in costs.items()
    ), body
    drawn = drawn_by_label(page)
    assert {name: sum(of_days.values()) for name, of_days in drawn.items()} == pytest.approx(
        {name: float(cost) for name, cost in costs.items()}
    ), body
    if body.keys() == {"start_date", "end_date"}:
        assert drawn == by_day(api, **body)
    assert_groups(page, api, **body)


def by_day(api: APIClient, **period: str) -> dict[str, dict[str, float]]:
    """The cost of each model on each day of the organization that has any, from the usage dashboard."""
    query = {**period, "view": "cost", "group_by": "model", "granularity": "day"}
    reported = answer(api, "/usage/timeseries", **query)
    labels = [day_text(datetime.fromisoformat(bucket["start"])) for bucket in reported["buckets"]]
    return {
        line["name"] or "No model": {
            label: float(bucket["cost_usd"])
            for label, bucket in zip(labels, line["buckets"], strict=True)
            if Decimal(bucket["cost_usd"])
        }
        for line in reported["series"]
    }


def assert_groups(page: PlainPage, api: APIClient, /, **body: Any) -> None:
    reported = posted(api, "/system/groups", {"page_size": 25, **body})
    assert reported["data"], body
    heads = ("Requests", "Input", "Output", "Tokens", "Cost")
    assert columns(page, "Group history", *heads) == [
        [
            count(entry["run_count"]),
            count(entry["total_input_tokens"]),
            count(entry["total_output_tokens"]),
            count(entry["total_tokens"]),
            dollars(entry["total_cost"]),
        ]
        for entry in reported["data"]
    ], body
    assert [(cells[0].split("\n"), cells[1]) for cells in rows(page, "Group history")] == [
        ([entry["group_name"], entry["group_key"]], entry["session_id"] or "-") for entry in reported["data"]
    ], body
    first = (reported["page"] - 1) * 25 + 1
    between = f"{first} to {min(first + 24, reported['total_count'])} of {reported['total_count']}"
    assert between in page.document.first("nav[aria-label='Pages of groups']").text
