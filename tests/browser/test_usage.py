"""The usage page: its filters, beside what `GET /usage/...` answers for the same ones, its chart and its rows."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from billing.limits.enforce import enforce
from billing.rollups.fold import fold
from billing.types import LimitWindow
from costtrack.clock import iso, utc_now
from organizations.models import Organization, User
from tests.browser import clicks
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage
from tests.browser.screens import DESK, HAND, assert_fits_every_screen
from tests.browser.walks import (
    all_pages,
    answer,
    beside,
    choose,
    clear,
    columns,
    count,
    dollars,
    drawn,
    figures,
    fill_period,
    follow,
    labels,
    percent,
    share,
    table,
)
from tests.conftest import Key
from tests.limits import set_limit
from tests.usage import Send

Query = dict[str, str]

PAGE = "/o/acme/admin/usage/"
COST = ".ct-by-two .ct-figure > strong"
TITLES = {"cost": "Cost", "requests": "Requests", "tokens": "Tokens"}
VIEWS = {"Cost": "cost", "Requests": "requests", "Tokens": "tokens"}
STACKS = {"Model": "model", "Capability": "capability", "Credential": "credential", "Status": "status", "Nothing": ""}
AMOUNTS = {"cost": "cost_usd", "requests": "requests", "tokens": "total_tokens"}
PARTS: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "cost": {"Cost": lambda one: Decimal(one["cost_usd"])},
    "tokens": {"Prompt": lambda one: one["prompt_tokens"], "Completion": lambda one: one["completion_tokens"]},
    "requests": {"Succeeded": lambda one: one["requests"] - one["errors"], "Failed": lambda one: one["errors"]},
}


@pytest.mark.usefixtures("history")
def test_the_page_says_what_the_api_says_whatever_is_filtered(owner: User, api: APIClient, gateway: Key) -> None:
    page = PlainPage(owner)
    page.goto("/admin/")
    assert page.url == PAGE
    assert "Last 30 days" in page.headings()
    follow(page, "Usage")
    assert_as_answered(page, api)
    assert_users_and_tags(page, api)
    for period in ("yesterday", "month"):
        choose(page, Period=period)
        assert_as_answered(page, api, range=period)
    fill_period(page, "2026-10-31", "2026-11-01")
    assert_as_answered(page, api, start_date="2026-10-31", end_date="2026-11-01")

    # One filter after the other, then without the first ones again.
    choose(page, Period="90d")
    query: Query = {"range": "90d"}
    for label, name, value in (
        ("API credential", "client_id", gateway.credential.client_id),
        ("Capability", "capability", "chat"),
        ("Model", "model", "gpt-4.1"),
        ("Status", "status", "success"),
        ("API credential", "client_id", "none"),
        ("Capability", "capability", ""),
        ("Model", "model", ""),
    ):
        choose(page, **{label: value})
        query[name] = value
        assert bool(re.search("Figures are filtered by [^;]*model", page.text)) == bool(query.get("model"))
        assert_as_answered(page, api, **query)

    # However the chart is looked at: by the day, and by the hour.
    view, by = "cost", "model"
    for tabs, name in (
        ("Stacked by", "Credential"),
        ("View by", "Tokens"),
        ("Stacked by", "Status"),
        ("View by", "Requests"),
        ("Stacked by", "Capability"),
        ("Stacked by", "Nothing"),
    ):
        page.click(name, within=f"nav[aria-label='{tabs}']")
        view, by = (VIEWS[name], by) if tabs == "View by" else (view, STACKS[name])
        assert page.field("Status").first("option[selected]")["value"] == "success"
        stacked = f", stacked by {by}" if by else ""
        assert f"{TITLES[view]} by day{stacked}" in page.headings()
        assert_chart(page, api, view, by, query)
    choose(page, Period="today")
    assert_chart(page, api, view, by, {**query, "range": "today"})

    clear(page)
    assert_as_answered(page, api)
    page.goto(next(link["href"] for link in table(page, "API usage by capability").all("a") if link.text == "chat"))
    assert page.field("Capability").first("option[selected]")["value"] == "chat"
    assert_as_answered(page, api, range="30d", capability="chat")


# --- The page beside the answers -------------------------------------------------------------------------------


def assert_as_answered(page: PlainPage, api: APIClient, **query: str) -> None:
    reported = answer(api, "/usage/summary", **query)
    assert reported["requests"], query
    spend = reported["spend"]
    assert figures(page) == {
        "Spend today": dollars(spend["today_usd"]),
        "Rolling 7 days": dollars(spend["rolling_7d_usd"]),
        "Month to date": dollars(spend["month_to_date_usd"]),
        "Cost": dollars(reported["cost_usd"]),
        "Requests": count(reported["requests"]),
        "Tokens": count(reported["total_tokens"]),
        "Error rate": percent(reported["error_rate"]),
    }, query
    assert f"{count(reported['errors'])} failed" in beside(page, "Requests")
    parts = f"{count(reported['prompt_tokens'])} prompt, {count(reported['completion_tokens'])} completion"
    assert parts in beside(page, "Tokens")
    if reported["previous"] is not None and Decimal(reported["previous"]["cost_usd"]):
        assert dollars(reported["previous"]["cost_usd"]) in beside(page, "Cost")
    unpriced = "of the events in this period have no price yet"
    if reported["unpriced_events"]:
        assert f"{count(reported['unpriced_events'])} {unpriced}" in page.text
    else:
        assert unpriced not in page.text
    assert_tables(page, api, reported, query)
    assert_chart(page, api, "cost", "model", query)


def assert_tables(page: PlainPage, api: APIClient, reported: dict[str, Any], query: Query) -> None:
    """A credential that was not used has no row."""

    def cells(one: dict[str, Any], name: str, *more: str) -> list[str]:
        return [
            name,
            count(one["requests"]),
            *more,
            dollars(one["cost_usd"]),
            share(one["cost_usd"], reported["cost_usd"]),
        ]

    capabilities = answer(api, "/usage/capabilities", **query)["capabilities"]
    heads = ("Capability", "Requests", "Tokens", "Error rate", "Cost", "Share of cost")
    assert (columns(page, "API usage by capability", *heads) if capabilities else []) == [
        cells(one, one["capability"] or "Without a capability", count(one["total_tokens"]), percent(one["error_rate"]))
        for one in capabilities
    ], query
    credentials = answer(api, "/usage/credentials", **query)["credentials"]
    used = [one for one in credentials if one["requests"] or Decimal(one["cost_usd"])]
    assert (columns(page, "API credentials", "Credential", "Requests", "Cost", "Share of cost") if used else []) == [
        cells(one, one["name"] or "Without a credential") for one in used
    ], query
    models, calls = (
        answer(api, "/usage/timeseries", **query, group_by="model", view=view)["series"]
        for view in ("cost", "requests")
    )
    requests = {one["key"]: one["total"]["requests"] for one in calls}
    assert (columns(page, "Top models", "Model", "Requests", "Cost", "Share of cost") if models else []) == [
        cells({**one["total"], "requests": requests[one["key"]]}, one["name"] or "Without a model") for one in models
    ], query


def assert_chart(page: PlainPage, api: APIClient, view: str, by: str, query: Query) -> None:
    reported = answer(api, "/usage/timeseries", **query, view=view, group_by=by)
    if by:
        expected = {
            one["name"] or f"Without a {by}": [float(bucket[AMOUNTS[view]]) for bucket in one["buckets"]]
            for one in reported["series"]
        }
    else:
        expected = {name: [float(amount(one)) for one in reported["buckets"]] for name, amount in PARTS[view].items()}
    if not any(any(amounts) for amounts in expected.values()):
        assert "No usage in this period" in page.text
        return
    shown = drawn(page)
    assert list(shown) == list(expected), query
    assert shown == expected, query
    assert len(labels(page)) == len(reported["buckets"])


def assert_users_and_tags(page: PlainPage, api: APIClient) -> None:
    """Of the last 30 days, added up by hand from the events with their corrections."""
    window = answer(api, "/usage/summary")["window"]
    events = all_pages(api, "/usage/events", start_date=window["start"], end_date=window["end"])
    users: dict[str, Decimal] = {}
    tags: dict[str, Decimal] = {}
    for event in events:
        cost = Decimal(event["cost_usd"] or 0)
        users[event["user_id"] or "Without a user"] = users.get(event["user_id"] or "Without a user", Decimal()) + cost
        for tag in event["tags"]:
            tags[tag] = tags.get(tag, Decimal()) + cost
    for name, head, amounts in (("Top users", "User", users), ("Top tags", "Tag", tags)):
        assert sorted(columns(page, name, head, "Cost")) == sorted(
            [one, dollars(cost)] for one, cost in amounts.items()
        )


# --- The chart -------------------------------------------------------------------------------------------------


@pytest.fixture
def fortnight(organization: Organization, send: Send) -> None:
    now = utc_now()
    send(
        *(
            {
                "occurred_at": iso(now - timedelta(hours=number * 3.5)),
                "cost_usd": f"0.{number + 10}",
                "model": ("gpt-4.1", "claude-sonnet-4-5", "gemini-2.5-flash")[number % 3],
                "capability": ("chat", "embeddings")[number % 2],
                "status": "failure" if number % 9 == 0 else "success",
                "input_tokens": 1000 + number,
                "output_tokens": 50,
                "user_id": ("ada", "brin")[number % 2],
                "tags": ["project:search"],
            }
            for number in range(96)
        ),
        now=now,
    )
    fold(now=now)


def draws(page: Page) -> bool:
    """Whether the chart has painted something."""
    return bool(
        page.locator(".ct-canvas canvas").evaluate(
            "one => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(value => value)"
        )
    )


@pytest.mark.usefixtures("fortnight")
def test_the_chart_shows_what_is_chosen(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto("/admin/")
    clicks.follow(page, "Usage")
    assert draws(page)
    clicks.assert_paints_what_was_sent(page)
    clicks.choose(page, Model="gpt-4.1")
    clicks.assert_paints_what_was_sent(page)
    assert list(clicks.painted(page)) == ["gpt-4.1"]
    clicks.fill_period(page, f"{utc_now() - timedelta(days=9):%Y-%m-%d}", f"{utc_now():%Y-%m-%d}")
    for tabs, name in (("Stacked by", "Capability"), ("View by", "Requests"), ("Stacked by", "Nothing")):
        with clicks.leaving(page):
            page.get_by_role("navigation", name=tabs).get_by_role("link", name=name, exact=True).click()
        clicks.assert_paints_what_was_sent(page)
    assert list(clicks.painted(page)) == ["Succeeded", "Failed"]
    expect(clicks.field(page, "Model")).to_have_value("gpt-4.1")


@pytest.mark.usefixtures("fortnight")
def test_bars_lead_to_a_day_and_to_the_calls_of_an_hour_and_numbers_refresh(
    browse: Browse, owner: User, send: Send
) -> None:
    page = browse(owner, viewport=DESK)
    page.goto(f"{PAGE}?range=7d&group_by=none")
    canvas = page.locator(".ct-canvas canvas")
    box = canvas.bounding_box()
    assert box is not None
    # The bar in the middle is three days ago.
    canvas.click(position={"x": box["width"] * 0.53, "y": box["height"] * 0.85})
    day = f"{utc_now() - timedelta(days=3):%Y-%m-%d}"
    expect(page).to_have_url(re.compile(f"range=custom.*start_date={day}&end_date={day}"))
    expect(page.get_by_label("From", exact=True)).to_have_value(day)

    page.get_by_text("Show data", exact=True).click()
    page.get_by_role("region", name="Cost by hour, as a table").get_by_role("link").nth(12).click()
    expect(page).to_have_url(re.compile(f"/requests/.*start={day}T12%3A00&end={day}T13%3A00"))
    expect(page.get_by_label("From time")).to_have_value(f"{day}T12:00")

    page.goto(f"{PAGE}?range=today")
    before = page.locator(COST).first.inner_text()
    send({"cost_usd": "100"}, now=utc_now())
    page.evaluate("htmx.trigger('#live', 'refresh'); htmx.ajax('GET', location.href, '#live')")
    expect(page.locator(COST).first).not_to_have_text(before)
    assert draws(page)


@pytest.mark.usefixtures("fortnight")
def test_it_fits_on_every_screen(browse: Browse, owner: User, organization: Organization) -> None:
    set_limit(organization, "40", window=LimitWindow.ROLLING_7D)
    enforce(organization=organization, now=utc_now())
    page = browse(owner)
    for query in ("", "range=today&view=tokens", "model=gpt-4.1&group_by=credential", "view=speed", "model=unused"):
        page.goto(f"{PAGE}?{query}")
        assert_fits_every_screen(page)
    page.set_viewport_size(HAND)
    page.goto(f"{PAGE}?group_by=environment")
    tabs = page.get_by_role("navigation", name="Stacked by")
    tabs.scroll_into_view_if_needed()
    expect(tabs.get_by_role("link", name="Environment")).to_be_in_viewport(ratio=1)
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    page.goto(PAGE)
    assert_fits_every_screen(page)
    expect(page.get_by_text("The Free plan has no API access")).to_be_visible()
