"""Limits and what has come of them, walked by their filters, beside what the API says of them."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from organizations.models import User
from tests.browser.arrangements import arrangements
from tests.browser.conftest import Browse
from tests.browser.history import MOMENT, at_five_past_midnight, gateway, history
from tests.browser.test_every_page import DESK
from tests.browser.walks import answer, dollars, follow, leaving, listed, narrow, search, start

__all__ = ["arrangements", "at_five_past_midnight", "gateway", "history"]  # fixtures from other modules

pytestmark = pytest.mark.usefixtures("arrangements")

ACME = "/organizations/acme"
WINDOWS = {
    "rolling_7d": "rolling 7 days",
    "calendar_day": "day",
    "calendar_week": "week",
    "calendar_month": "month",
    "lifetime": "all time",
}
STATES = {"granted": "granted", "declined": "declined", "open": "waiting for an answer"}

Told = dict[str, Any]


def test_limits_and_what_came_of_them_are_as_the_api_says(browse: Browse, owner: User, api: APIClient) -> None:
    limits: list[Told] = answer(api, f"{ACME}/limits")["results"]
    page = browse(owner, viewport=DESK)
    start(page)
    follow(page, "Limits", "Spend limits")
    assert_limits(page, api, limits)
    narrow(page, scope="user", window="lifetime")
    assert_limits(page, api, answer(api, f"{ACME}/limits", scope="user", window="lifetime")["results"])
    narrow(page, scope="", window="", time="now")
    assert_limits(page, api, answer(api, f"{ACME}/limits", in_force="true")["results"])
    narrow(page, time="later")
    assert_limits(page, api, [one for one in limits if one["starts_at"] and is_later(one["starts_at"])])
    narrow(page, time="removed")
    assert [row["State"].casefold() for row in listed(page)] == ["removed"]
    reached = {crossing["limit"] for crossing in crossings(api) if not crossing["resolved_at"]}
    assert reached
    narrow(page, time="", reached="whole")
    assert_limits(page, api, [one for one in limits if one["id"] in reached])
    with leaving(page):
        page.locator("#result_list").get_by_role("link").first.click()
    (limit,) = [one for one in answer(api, "/usage/limits")["limits"] if one["id"] in reached]
    gauge = f"{dollars(limit['spent_usd'])} spent of {dollars(limit['amount_usd'])}"
    expect(page.get_by_role("meter").first).to_have_attribute("aria-valuetext", gauge)

    follow(page, "Increase requests", "Increase requests")
    assert_requests(page, answer(api, f"{ACME}/limit-requests")["results"])
    narrow(page, state="declined")
    assert_requests(page, answer(api, f"{ACME}/limit-requests", state="declined")["results"])

    every = crossings(api)
    follow(page, "Crossings", "Limit crossings")
    assert_crossings(page, every)
    narrow(page, threshold="warning", state="open")
    assert_crossings(page, [one for one in every if 0 < one["threshold"] < 100 and not one["resolved_at"]])
    narrow(page, threshold="", state="", limit=str(every[0]["limit"]), when_to="2026-11-02")
    of_first = [one for one in every if one["limit"] == every[0]["limit"]]
    assert_crossings(page, [one for one in of_first if one["crossed_at"] < "2026-11-03"])

    follow(page, "Authorizations", "Authorizations")
    granted = answer(api, "/usage/authorizations")["results"]
    assert_authorizations(page, granted)
    narrow(page, status="settled", when_from="2026-11-03")
    assert_authorizations(page, answer(api, "/usage/authorizations", status="settled")["results"])
    narrow(page, status="", when_from="")
    search(page, "held")
    assert_authorizations(page, [one for one in granted if one["idempotency_key"] == "held"])


def is_later(instant: str) -> bool:
    return datetime.fromisoformat(instant) > MOMENT


def crossings(api: APIClient) -> list[Told]:
    """Of all limits; each with its limit's number."""
    return [
        {**crossing, "limit": limit["id"]}
        for limit in answer(api, f"{ACME}/limits")["results"]
        for crossing in answer(api, f"{ACME}/limits/{limit['id']}/crossings")["results"]
    ]


# --- The lists beside the answers ------------------------------------------------------------------------------


def assert_limits(page: Page, api: APIClient, limits: list[Told]) -> None:
    """One for each user shows whoever has spent the most; the API names those alone who are near it."""
    assert limits
    standing = {one["id"]: one for one in answer(api, "/usage/limits")["limits"]}
    rows = listed(page)
    assert [row["Limit"] for row in rows] == [f"{whose(one)}\n{WINDOWS[one['window']]}" for one in limits]
    for row, limit in zip(rows, limits, strict=True):
        now = standing.get(limit["id"])
        assert dollars(limit["amount_usd"]) in row["Spent"]
        if now is None:
            assert row["State"].casefold() in ("begins later", "ended")
        elif not now["of_each"]:
            held = f", {dollars(now['reserved_usd'])} held" if Decimal(now["reserved_usd"]) else ""
            gauge = f"{dollars(now['spent_usd'])} of {dollars(now['amount_usd'])} {int(now['percent'])} %{held}"
            assert row["Spent"] == gauge
            assert row["State"].casefold() == now["state"]


def whose(limit: Told) -> str:
    scope, value = limit["scope"], limit["scope_value"]
    if value or scope == "organization":
        return f"{scope.capitalize()} {value}".strip()
    return f"Each {scope}"


def assert_requests(page: Page, expected: list[Told]) -> None:
    assert expected
    assert [
        (row["Asked by"].partition("\n")[0], row["Wanted"].partition("\n")[0], row["What for"], row["State"].casefold())
        for row in listed(page)
    ] == [(one["requested_by"], dollars(one["amount_usd"]), one["reason"], STATES[one["state"]]) for one in expected]


def assert_crossings(page: Page, expected: list[Told]) -> None:
    assert expected

    def told(one: Told) -> tuple[str, str, bool]:
        threshold = "The whole amount" if one["threshold"] == 100 else f"{one['threshold']} %"
        return threshold, f"{dollars(one['spent_usd'])}\nof {dollars(one['amount_usd'])}", bool(one["resolved_at"])

    shown = [(row["Threshold"], row["Spent of"], row["Below again"] != "-") for row in listed(page)]
    assert sorted(shown) == sorted(map(told, expected))


def assert_authorizations(page: Page, expected: list[Told]) -> None:
    assert expected
    shown = [
        (row["Status"].casefold(), row["Held"], row["Settled to"], row["For"].partition("\n")[0])
        for row in listed(page)
    ]
    assert shown == [
        (
            one["status"],
            dollars(one["reserved_usd"]),
            dollars(one["settled_usd"]) if one["settled_usd"] is not None else "-",
            one["model"],
        )
        for one in expected
    ]
