"""The usage page: its filters, beside what `GET /usage/...` answers for the same ones, its chart and its rows."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, ViewportSize, expect
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
AMOUNTS = {"cost": "cost_usd", "requests": "requests", "tokens": "total_tokens"}
PARTS: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "cost": {"Cost": lambda item: Decimal(item["cost_usd"])},
    "tokens": {"Prompt": lambda item: item["prompt_tokens"], "Completion": lambda item: item["completion_tokens"]},
    "requests": {"Succeeded": lambda item: item["requests"] - item["errors"], "Failed": lambda item: item["errors"]},
}


@pytest.mark.usefixtures("history")
def test_the_page_equals_the_api_with_any_filter(owner: User, api: APIClient, gateway: Key) -> None:
    page = PlainPage(owner)
    page.goto("/admin/")
    assert page.url == PAGE
    assert "Cost by day and model, last 30 days" in page.headings()
    follow(page, "Usage")
    assert_as_answered(page, api)
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
        assert bool(re.search("Filtered by [^.]*model", page.text)) == bool(query.get("model"))
        assert_as_answered(page, api, **query)

    # However the chart is looked at: by the day, and by the hour.
    view, by = "cost", "model"
    for control, name in (
        ("Group by", "credential"),
        ("View by", "Tokens"),
        ("Group by", "status"),
        ("View by", "Requests"),
        ("Group by", "capability"),
        ("Group by", "none"),
    ):
        if control == "View by":
            page.click(name, within="nav[aria-label='View by']")
            view = VIEWS[name]
        else:
            choose(page, **{control: name})
            by = "" if name == "none" else name
        assert page.field("Status").first("option[selected]")["value"] == "success"
        grouped = f" and {by}" if by else ""
        assert f"{TITLES[view]} by day{grouped}, last 90 days" in page.headings()
        assert_chart(page, api, view, by, query)
    choose(page, Period="today")
    assert_chart(page, api, view, by, {**query, "range": "today"})

    clear(page)
    assert_as_answered(page, api)
    choose(page, **{"Group by": "capability"})
    page.goto(next(link["href"] for link in table(page, "By capability").all("a") if link.text == "chat"))
    assert page.field("Capability").first("option[selected]")["value"] == "chat"
    choose(page, **{"Group by": "model"})
    assert_as_answered(page, api, range="30d", capability="chat")


# --- The page beside the answers -------------------------------------------------------------------------------


def assert_as_answered(page: PlainPage, api: APIClient, **query: str) -> None:
    reported = answer(api, "/usage/summary", **query)
    assert reported["requests"], query
    spend = reported["spend"]
    shown = figures(page)
    assert shown.pop("This week")
    assert shown == {
        "Today": dollars(spend["today_usd"]),
        "This month": dollars(spend["month_to_date_usd"]),
        "Cost": dollars(reported["cost_usd"]),
        "Requests": count(reported["requests"]),
        "Tokens": count(reported["total_tokens"]),
        "Error rate": percent(reported["error_rate"]),
    }, query
    assert f"{count(reported['errors'])} failed" in beside(page, "Requests")
    parts = f"{count(reported['prompt_tokens'])} prompt, {count(reported['completion_tokens'])} completion"
    assert parts in beside(page, "Tokens")
    # The month before a month has other days than as many days before it.
    if query.get("range") != "month" and reported["previous"] is not None and Decimal(reported["previous"]["cost_usd"]):
        assert dollars(reported["previous"]["cost_usd"]) in beside(page, "Cost")
    unpriced = "of the events in this period have no price yet"
    if reported["unpriced_events"]:
        assert f"{count(reported['unpriced_events'])} {unpriced}" in page.text
    else:
        assert unpriced not in page.text
    assert_table(page, api, reported, query)
    assert_chart(page, api, "cost", "model", query)


def assert_table(page: PlainPage, api: APIClient, reported: dict[str, Any], query: Query) -> None:
    """The table by model. The API lists models without a cost by their requests."""
    groups = answer(api, "/usage/breakdown", **query, group_by="model")["results"]
    heads = ("Model", "Cost", "Share of cost", "Requests")
    assert sorted(columns(page, "By model", *heads) if groups else []) == sorted(
        [
            item["model"] or "No model",
            "No price yet" if item["unpriced_events"] and not Decimal(item["cost_usd"]) else dollars(item["cost_usd"]),
            share(item["cost_usd"], reported["cost_usd"]),
            count(item["requests"]),
        ]
        for item in groups
    ), query


def assert_chart(page: PlainPage, api: APIClient, view: str, by: str, query: Query) -> None:
    if query.get("range") == "month":
        return  # its bars depend on how much of the month is left
    reported = answer(api, "/usage/timeseries", **query, view=view, group_by=by)
    if by:
        expected = {
            item["name"] or f"No {by}": [float(bucket[AMOUNTS[view]]) for bucket in item["buckets"]]
            for item in reported["series"]
        }
    else:
        expected = {name: [float(amount(item)) for item in reported["buckets"]] for name, amount in PARTS[view].items()}
    if not any(any(amounts) for amounts in expected.values()):
        assert "No usage in this period" in page.text
        return
    shown = drawn(page)
    assert list(shown) == list(expected), query
    assert shown == expected, query
    assert len(labels(page)) == len(reported["buckets"])


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
    clicks.choose(page, **{"Group by": "capability"})
    clicks.assert_paints_what_was_sent(page)
    with clicks.leaving(page):
        page.get_by_role("navigation", name="View by").get_by_role("link", name="Requests", exact=True).click()
    clicks.choose(page, **{"Group by": "none"})
    clicks.assert_paints_what_was_sent(page)
    assert list(clicks.painted(page)) == ["Succeeded", "Failed"]
    page.get_by_role("button", name="Failed").click()
    expect(page.get_by_role("button", name="Failed")).to_have_attribute("aria-pressed", "false")
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
    # The figures and the chart are on the first screen.
    page.set_viewport_size(DESK)
    page.goto(PAGE)
    box = page.locator(".ct-canvas").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= DESK["height"]
    page.set_viewport_size(HAND)
    page.goto(f"{PAGE}?granularity=month")
    tabs = page.get_by_role("navigation", name="Granularity")
    tabs.scroll_into_view_if_needed()
    expect(tabs.get_by_role("link", name="Month")).to_be_in_viewport(ratio=1)
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    page.goto(PAGE)
    assert_fits_every_screen(page)
    expect(page.get_by_text("The Free plan has no API access")).to_be_visible()


@pytest.mark.parametrize("size", [DESK, HAND], ids=["desk", "phone"])
def test_the_legend_of_long_names_leaves_the_plot_its_height(
    size: ViewportSize, browse: Browse, owner: User, send: Send
) -> None:
    names = [f"provider/{'long-name-of-a-model-' * 3}{number:02}-preview" for number in range(12)]
    calls = [{"id": name, "model": name, "cost_usd": f"{number + 1}"} for number, name in enumerate(names)]
    send(*calls, now=utc_now())
    page = browse(owner, viewport=size)
    page.goto(PAGE)
    legend = page.locator(".ct-legend button")
    expect(legend.first).to_be_visible()
    shown = {button["title"]: button["text"] for button in legend.evaluate_all(_BUTTONS) if button["title"] in names}
    assert len(shown) > 3
    for name, text in shown.items():
        start, end = text.split("…")
        assert name.startswith(start)
        assert name.endswith(end), "the end tells models apart"
    plot, figure = page.locator(".ct-canvas canvas").bounding_box(), page.locator("figure.ct-chart").bounding_box()
    assert plot is not None
    assert figure is not None
    assert plot["height"] >= 200
    assert all(button["color"] for button in legend.evaluate_all(_BUTTONS))
    assert all(button["right"] <= figure["x"] + figure["width"] for button in legend.evaluate_all(_BUTTONS))


_BUTTONS = """buttons => buttons.map((button) => ({
    title: button.title, text: button.textContent, color: button.querySelector("i").style.background,
    right: button.getBoundingClientRect().right,
}))"""
