"""The page of tags walked by its filters: what it shows is what `GET /spend/tags` answers for the same days."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import expect
from rest_framework.test import APIClient

from organizations.models import User
from tests.browser import clicks
from tests.browser.conftest import Browse
from tests.browser.history import UTC_PERIODS
from tests.browser.plain_pages import PlainPage
from tests.browser.screens import DESK, assert_fits_a_hand
from tests.browser.walks import (
    answer,
    choose,
    columns,
    count,
    dollars,
    drawn_by_label,
    figures,
    fill,
    fill_period,
    follow,
    posted,
    share,
    start,
)

pytestmark = pytest.mark.usefixtures("history")

Tag = dict[str, Any]


def test_the_page_says_what_the_api_says_whatever_is_filtered(operator: User, api: APIClient) -> None:
    page = PlainPage(operator)
    start(page)
    follow(page, "Tags")
    assert_tags(page, api, UTC_PERIODS["30d"])
    choose(page, Period="7d")
    assert_tags(page, api, UTC_PERIODS["7d"])
    page.click("Requests")
    assert_tags(page, api, UTC_PERIODS["7d"], order=lambda tag: tag["log_count"])
    page.click("Requests")
    assert_tags(page, api, UTC_PERIODS["7d"], order=lambda tag: -tag["log_count"])
    choose(page, Kind_of_tag="env")
    assert_tags(page, api, UTC_PERIODS["7d"], lambda tag: tag.startswith("env:"), lambda tag: -tag["log_count"])
    page.click("env:prod")
    assert "Cost of env:prod per day (UTC)" in page.document.first("#live").text
    page.click("All tags")
    assert_tags(page, api, UTC_PERIODS["7d"], lambda tag: tag.startswith("env:"), lambda tag: -tag["log_count"])
    choose(page, Kind_of_tag="")
    fill(page, Tag="STAG")
    assert_tags(page, api, UTC_PERIODS["7d"], lambda tag: "stag" in tag)
    page.click("env:staging")
    assert_one(page, api, UTC_PERIODS["7d"], "env:staging")
    fill_period(page, "2026-11-01", "2026-11-02")
    assert_one(page, api, {"start_date": "2026-11-01", "end_date": "2026-11-02"}, "env:staging")


def test_tags_are_found_in_the_browser_and_their_chart_shows_them_beside_each_other(
    browse: Browse, operator: User
) -> None:
    page = browse(operator, viewport=DESK)
    clicks.start(page)
    clicks.follow(page, "Tags")
    clicks.assert_paints_what_was_sent(page)
    assert not clicks.chart(page).evaluate("(canvas) => Chart.getChart(canvas).options.scales.y.stacked")
    assert_fits_a_hand(page)
    clicks.choose(page, Period="7d", Kind_of_tag="env")
    clicks.fill(page, Tag="STAG")
    clicks.click(page, "env:staging")
    expect(page.locator("#live")).to_contain_text("Cost of env:staging per day (UTC)")
    clicks.assert_paints_what_was_sent(page)


def spent(api: APIClient, days: dict[str, str]) -> Decimal:
    """By everything, with a tag or without."""
    daily = posted(api, "/system/pricing", days)["daily"]
    return sum((Decimal(one["total_cost"]) for one in daily), Decimal())


def assert_tags(
    page: PlainPage,
    api: APIClient,
    days: dict[str, str] = UTC_PERIODS["30d"],
    is_included: Callable[[str], bool] = lambda _: True,
    order: Callable[[Tag], float] = lambda tag: tag["total_spend"],
) -> None:
    """In their order: the most first. Those of which there is as much may stand either way."""
    every: list[Tag] = answer(api, "/spend/tags", **days)
    matching = [tag for tag in every if is_included(tag["individual_request_tag"])]
    whole = spent(api, days)
    assert matching, days
    shown = columns(page, "Tags", "Tag", "Requests", "Cost", "Share of all spend")
    expected = {
        tag["individual_request_tag"]: [
            count(tag["log_count"]),
            dollars(tag["total_spend"]),
            share(tag["total_spend"], whole),
        ]
        for tag in matching
    }
    assert {cells[0]: cells[1:] for cells in shown} == expected, days
    amounts = {tag["individual_request_tag"]: order(tag) for tag in matching}
    assert [amounts[cells[0]] for cells in shown] == sorted(amounts.values(), reverse=True), days
    found = figures(page)
    assert found["All spend"] == dollars(whole)
    assert found["Tags"] == count(len(every))
    assert found["Most expensive tag"] == dollars(max(tag["total_spend"] for tag in every))
    assert drawn_by_label(page) == by_day(api, days, list(expected)), days


def assert_one(page: PlainPage, api: APIClient, days: dict[str, str], name: str) -> None:
    (tag,) = [one for one in answer(api, "/spend/tags", **days) if one["individual_request_tag"] == name]
    whole = spent(api, days)
    assert figures(page) == {
        "Cost": dollars(tag["total_spend"]),
        "Share of all spend": share(tag["total_spend"], whole),
        "Requests": count(tag["log_count"]),
        "Cost per request": dollars(Decimal(str(tag["total_spend"])) / tag["log_count"]),
    }
    assert f"of {dollars(whole)} total" in page.text
    assert drawn_by_label(page) == by_day(api, days, [name])


def by_day(api: APIClient, days: dict[str, str], names: list[str]) -> dict[str, dict[str, float]]:
    """Each day asked for by itself."""
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    day = date.fromisoformat(days["start_date"])
    while day <= date.fromisoformat(days["end_date"]):
        for tag in answer(api, "/spend/tags", start_date=str(day), end_date=str(day)):
            if tag["individual_request_tag"] in found and tag["total_spend"]:
                found[tag["individual_request_tag"]][str(day)] = tag["total_spend"]
        day += timedelta(days=1)
    return found
