"""The usage page walked by its filters: what it shows is what `GET /usage/...` answers for the same ones."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.history import at_five_past_midnight, gateway, history
from tests.browser.test_every_page import DESK
from tests.browser.walks import (
    all_pages,
    answer,
    beside,
    choose,
    columns,
    count,
    dollars,
    drawn,
    figures,
    fill_period,
    follow,
    labels,
    leaving,
    percent,
    share,
    start,
)
from tests.conftest import Key

__all__ = ["at_five_past_midnight", "gateway", "history"]  # fixtures from another module

pytestmark = pytest.mark.usefixtures("history")

Query = dict[str, str]

VIEWS = {"Cost": "cost", "Requests": "requests", "Tokens": "tokens"}
STACKS = {"Model": "model", "Capability": "capability", "Credential": "credential", "Status": "status", "Nothing": ""}
AMOUNTS = {"cost": "cost_usd", "requests": "requests", "tokens": "total_tokens"}
PARTS: dict[str, dict[str, Callable[[dict[str, Any]], Any]]] = {
    "cost": {"Cost": lambda one: Decimal(one["cost_usd"])},
    "tokens": {"Prompt": lambda one: one["prompt_tokens"], "Completion": lambda one: one["completion_tokens"]},
    "requests": {"Succeeded": lambda one: one["requests"] - one["errors"], "Failed": lambda one: one["errors"]},
}


def test_the_page_says_what_the_api_says_whatever_is_filtered(
    browse: Browse, owner: User, api: APIClient, gateway: Key
) -> None:
    page = browse(owner, viewport=DESK)
    start(page)
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
        with leaving(page):
            page.get_by_role("navigation", name=tabs).get_by_role("link", name=name, exact=True).click()
        view, by = (VIEWS[name], by) if tabs == "View by" else (view, STACKS[name])
        assert_chart(page, api, view, by, query)
    choose(page, Period="today")
    assert_chart(page, api, view, by, {**query, "range": "today"})


# --- The page beside the answers -------------------------------------------------------------------------------


def assert_as_answered(page: Page, api: APIClient, **query: str) -> None:
    told = answer(api, "/usage/summary", **query)
    assert told["requests"], query
    spend = told["spend"]
    assert figures(page) == {
        "Spend today": dollars(spend["today_usd"]),
        "Last 7 days": dollars(spend["rolling_7d_usd"]),
        "Month to date": dollars(spend["month_to_date_usd"]),
        "Cost": dollars(told["cost_usd"]),
        "Requests": count(told["requests"]),
        "Tokens": count(told["total_tokens"]),
        "Error rate": percent(told["error_rate"]),
    }, query
    assert f"{count(told['errors'])} failed" in beside(page, "Requests")
    parts = f"{count(told['prompt_tokens'])} prompt, {count(told['completion_tokens'])} completion"
    assert parts in beside(page, "Tokens")
    if told["previous"] is not None and Decimal(told["previous"]["cost_usd"]):
        assert dollars(told["previous"]["cost_usd"]) in beside(page, "Cost")
    unpriced = page.get_by_text("of the events in this period have no price yet")
    expect(unpriced).to_have_count(1 if told["unpriced_events"] else 0)
    if told["unpriced_events"]:
        expect(unpriced).to_contain_text(f"{count(told['unpriced_events'])} of the events")
    assert_tables(page, api, told, query)
    assert_chart(page, api, "cost", "model", query)


def assert_tables(page: Page, api: APIClient, told: dict[str, Any], query: Query) -> None:
    """A credential that was not used has no row."""

    def cells(one: dict[str, Any], name: str, *more: str) -> list[str]:
        return [name, count(one["requests"]), *more, dollars(one["cost_usd"]), share(one["cost_usd"], told["cost_usd"])]

    capabilities = answer(api, "/usage/capabilities", **query)["capabilities"]
    heads = ("Capability", "Requests", "Tokens", "Error rate", "Cost", "Share of the cost")
    assert (columns(page, "API usage by capability", *heads) if capabilities else []) == [
        cells(one, one["capability"] or "Without a capability", count(one["total_tokens"]), percent(one["error_rate"]))
        for one in capabilities
    ], query
    credentials = answer(api, "/usage/credentials", **query)["credentials"]
    used = [one for one in credentials if one["requests"] or Decimal(one["cost_usd"])]
    assert (
        columns(page, "API credentials", "Credential", "Requests", "Cost", "Share of the cost") if used else []
    ) == [cells(one, one["name"] or "Without a credential") for one in used], query
    models, calls = (
        answer(api, "/usage/timeseries", **query, group_by="model", view=view)["series"]
        for view in ("cost", "requests")
    )
    requests = {one["key"]: one["total"]["requests"] for one in calls}
    assert (columns(page, "Top models", "Model", "Requests", "Cost", "Share of the cost") if models else []) == [
        cells({**one["total"], "requests": requests[one["key"]]}, one["name"] or "Without a model") for one in models
    ], query


def assert_chart(page: Page, api: APIClient, view: str, by: str, query: Query) -> None:
    told = answer(api, "/usage/timeseries", **query, view=view, group_by=by)
    if by:
        expected = {
            one["name"] or f"Without a {by}": [float(bucket[AMOUNTS[view]]) for bucket in one["buckets"]]
            for one in told["series"]
        }
    else:
        expected = {name: [float(amount(one)) for one in told["buckets"]] for name, amount in PARTS[view].items()}
    if not any(any(amounts) for amounts in expected.values()):
        expect(page.get_by_text("Nothing was used in this period")).to_be_visible()
        return
    shown = drawn(page)
    assert list(shown) == list(expected), query
    assert shown == expected, query
    assert len(labels(page)) == len(told["buckets"])


def assert_users_and_tags(page: Page, api: APIClient) -> None:
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
