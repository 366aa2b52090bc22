"""The explorer walked by its filters: what it shows is what `GET /usage/breakdown` answers for the same parameters."""

from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import expect
from rest_framework.test import APIClient

from organizations.models import User
from tests.browser import clicks
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage
from tests.browser.screens import DESK, assert_fits_a_hand
from tests.browser.walks import (
    answer,
    choose,
    columns,
    count,
    dollars,
    drawn,
    figures,
    fill,
    fill_period,
    follow,
    start,
)

pytestmark = pytest.mark.usefixtures("history")


def test_the_page_equals_the_api_for_any_choice(operator: User, api: APIClient) -> None:
    page = PlainPage(operator)
    start(page)
    follow(page, "Explore")
    assert_explore(page, api, range="month", group_by="model")
    choose(page, Period="30d", Rows="tag")
    assert_explore(page, api, range="30d", group_by="tag")
    page.click("Requests", within="[aria-label='Usage']")
    assert_explore(page, api, range="30d", group_by="tag", sort_by="requests")
    page.click("env:prod")
    assert_explore(page, api, range="30d", group_by="model", tag="env:prod")
    choose(page, Then_by="user", Columns="week")
    query = {"range": "30d", "group_by": "model,user", "tag": "env:prod"}
    body = assert_explore(page, api, **query, granularity="week")
    assert sum(map(sum, drawn(page).values())) == pytest.approx(float(body["total"]["cost_usd"]))
    choose(page, Columns="")
    fill(page, User="ada")
    assert_explore(page, api, **query, user_id="ada")
    fill_period(page, "2026-11-01", "2026-11-02")
    days = {"start_date": "2026-11-01", "end_date": "2026-11-02"}
    assert_explore(page, api, **{**query, "range": "", "user_id": "ada"}, **days)


def test_a_breakdown_by_periods_is_drawn_in_the_browser(browse: Browse, operator: User) -> None:
    page = browse(operator, viewport=DESK)
    clicks.start(page)
    clicks.follow(page, "Explore")
    clicks.choose(page, Period="30d", Columns="week")
    clicks.assert_paints_what_was_sent(page)
    assert_fits_a_hand(page)
    clicks.click(page, "gpt-4.1")
    expect(page.locator("#live")).to_contain_text("Model gpt-4.1")


def assert_explore(page: PlainPage, api: APIClient, **query: Any) -> dict[str, Any]:
    """The total is that of the summary, and the rows are those of the API in its order. Those that cost as much may
    stand either way."""
    body: dict[str, Any] = answer(api, "/usage/breakdown", **query)
    without = {name: value for name, value in query.items() if name not in ("group_by", "granularity", "sort_by")}
    summary = answer(api, "/usage/summary", **without)
    assert summary["cost_usd"] == body["total"]["cost_usd"]
    assert figures(page)["Cost"] == dollars(summary["cost_usd"]), query
    assert figures(page)["Requests"] == count(summary["requests"]), query
    heading = "Cost" if not query.get("granularity") else "Total cost"
    shown = columns(page, "Usage", heading)
    expected = [
        "No price yet" if row["unpriced_events"] and not Decimal(row["cost_usd"]) else dollars(row["cost_usd"])
        for row in body["results"][: len(shown)]
    ]
    assert [cell for (cell,) in shown] == expected, query
    assert len(shown) == min(body["count"], 50)
    return body
