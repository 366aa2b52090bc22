"""Limits: the lists of them and of what has come of them beside what the API says, and a limit's life: lowered, near,
paused by hand and by spend, resumed, raised, asked for.
"""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from rest_framework.test import APIClient

from billing.limits.enforce import enforce
from billing.models import SpendLimit, WebhookEndpoint
from billing.types import LimitScope, LimitWindow
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.history import MOMENT
from tests.browser.plain_pages import PlainPage
from tests.browser.screens import SCREENS, assert_fits_every_screen, show_on
from tests.browser.walks import answer, dollars, follow, listed, narrow, search, start
from tests.conftest import Key
from tests.html import Element
from tests.limits import set_limit
from tests.usage import Send

ACME = "/organizations/acme"
WINDOWS = {
    "rolling_7d": "rolling 7 days",
    "calendar_day": "day",
    "calendar_week": "week",
    "calendar_month": "month",
    "lifetime": "lifetime",
}
STATES = {"granted": "granted", "declined": "declined", "open": "pending"}

Item = dict[str, Any]


@pytest.mark.usefixtures("arrangements")
def test_limits_and_what_came_of_them_are_as_the_api_says(owner: User, api: APIClient) -> None:
    limits: list[Item] = answer(api, f"{ACME}/limits")["results"]
    page = PlainPage(owner)
    start(page)
    follow(page, "Limits")
    assert_limits(page, api, limits)
    narrow(page, scope="user", window="lifetime")
    assert_limits(page, api, answer(api, f"{ACME}/limits", scope="user", window="lifetime")["results"])
    narrow(page, scope="", window="", time="now")
    assert_limits(page, api, answer(api, f"{ACME}/limits", in_force="true")["results"])
    narrow(page, time="later")
    assert_limits(page, api, [item for item in limits if item["starts_at"] and is_later(item["starts_at"])])
    narrow(page, time="removed")
    assert [row["State"].casefold() for row in listed(page)] == ["removed"]
    reached = {
        threshold_event["limit"] for threshold_event in threshold_events(api) if not threshold_event["resolved_at"]
    }
    assert reached
    narrow(page, time="", reached="whole")
    assert_limits(page, api, [item for item in limits if item["id"] in reached])
    page.open("#result_list")
    (limit,) = [item for item in answer(api, "/usage/limits")["limits"] if item["id"] in reached]
    gauge = f"{dollars(limit['spent_usd'])} spent of {dollars(limit['amount_usd'])}"
    assert page.document.first("[role=meter]")["aria-valuetext"] == gauge

    follow(page, "Limit requests")
    assert_requests(page, answer(api, f"{ACME}/limit-requests")["results"])
    narrow(page, state="declined")
    assert_requests(page, answer(api, f"{ACME}/limit-requests", state="declined")["results"])

    every = threshold_events(api)
    follow(page, "Alerts")
    assert_threshold_events(page, every)
    narrow(page, threshold="warning", state="open")
    assert_threshold_events(page, [item for item in every if 0 < item["threshold"] < 100 and not item["resolved_at"]])
    narrow(page, threshold="", state="", limit=str(every[0]["limit"]), when_to="2026-11-02")
    of_first = [item for item in every if item["limit"] == every[0]["limit"]]
    assert_threshold_events(page, [item for item in of_first if item["reached_at"] < "2026-11-03T05:00"])

    follow(page, "Authorizations")
    granted = answer(api, "/usage/authorizations")["results"]
    assert_authorizations(page, granted)
    narrow(page, status="settled", when_from="2026-11-02")  # still the second in New York
    assert_authorizations(page, answer(api, "/usage/authorizations", status="settled")["results"])
    narrow(page, status="", when_from="")
    search(page, "held")
    assert_authorizations(page, [item for item in granted if item["idempotency_key"] == "held"])


def is_later(instant: str) -> bool:
    return datetime.fromisoformat(instant) > MOMENT


def threshold_events(api: APIClient) -> list[Item]:
    """Of all limits; each with its limit's number."""
    return [
        {**threshold_event, "limit": limit["id"]}
        for limit in answer(api, f"{ACME}/limits")["results"]
        for threshold_event in answer(api, f"{ACME}/limits/{limit['id']}/threshold-events")["results"]
    ]


# --- The lists beside the answers ------------------------------------------------------------------------------


def assert_limits(page: PlainPage, api: APIClient, limits: list[Item]) -> None:
    """One for each user shows whoever has spent the most; the API names those alone who are near it."""
    assert limits
    statuses = {item["id"]: item for item in answer(api, "/usage/limits")["limits"]}
    rows = listed(page)
    assert [row["Limit"] for row in rows] == [f"{whose(item)}\n{WINDOWS[item['window']]}" for item in limits]
    for row, limit in zip(rows, limits, strict=True):
        now = statuses.get(limit["id"])
        assert dollars(limit["amount_usd"]) in row["Spent"]
        if now is None:
            assert row["State"].casefold() in ("begins later", "ended")
        elif not now["of_each"]:
            held = f", {dollars(now['reserved_usd'])} reserved" if Decimal(now["reserved_usd"]) else ""
            gauge = f"{dollars(now['spent_usd'])} of {dollars(now['amount_usd'])} {int(now['percent'])}%{held}"
            assert row["Spent"].replace("\n", " ") == gauge
            assert row["State"].casefold() == now["state"]


def whose(limit: Item) -> str:
    scope, value = limit["scope"], limit["scope_value"]
    if value or scope == "organization":
        return f"{scope.capitalize()} {value}".strip()
    return f"Each {scope}"


def assert_requests(page: PlainPage, expected: list[Item]) -> None:
    assert expected
    assert [
        (
            row["Requested by"].partition("\n")[0],
            row["Requested"].partition("\n")[0],
            row["Reason"],
            row["State"].casefold(),
        )
        for row in listed(page)
    ] == [
        (item["requested_by"], dollars(item["amount_usd"]), item["reason"], STATES[item["state"]]) for item in expected
    ]


def assert_threshold_events(page: PlainPage, expected: list[Item]) -> None:
    assert expected

    def as_listed(item: Item) -> tuple[str, str, bool]:
        threshold = "Full amount" if item["threshold"] == 100 else f"{item['threshold']}%"
        return threshold, f"{dollars(item['spent_usd'])}\nof {dollars(item['amount_usd'])}", bool(item["resolved_at"])

    shown = [(row["Threshold"], row["Spent"], row["Resolved"] != "-") for row in listed(page)]
    assert sorted(shown) == sorted(map(as_listed, expected))


def assert_authorizations(page: PlainPage, expected: list[Item]) -> None:
    assert expected
    shown = [
        (row["Status"].casefold(), row["Reserved"], row["Settled at"], row["For"].partition("\n")[0])
        for row in listed(page)
    ]
    assert shown == [
        (
            item["status"],
            dollars(item["reserved_usd"]),
            dollars(item["settled_usd"]) if item["settled_usd"] is not None else "-",
            item["model"],
        )
        for item in expected
    ]


LIMITS = "/admin/billing/spendlimit/"


@pytest.fixture
def limit(organization: Organization) -> SpendLimit:
    """The plan's: 100 USD in any seven days."""
    return set_limit(organization, "100", window=LimitWindow.ROLLING_7D, is_plan=True)


@pytest.fixture
def day(organization: Organization) -> SpendLimit:
    """10 USD a day."""
    return set_limit(organization, "10", window=LimitWindow.CALENDAR_DAY)


def gauge(page: Page) -> Locator:
    return page.get_by_role("meter").first


def bar(page: PlainPage) -> Element:
    return page.document.first("[role=meter]")


def open_first_limit(page: PlainPage) -> None:
    page.goto(LIMITS)
    page.open("#result_list tbody")


def confirm(page: PlainPage, link: str, **fields: str) -> None:
    """A button of the page's head, and the form behind it."""
    page.click(link, "link")
    for name, value in fields.items():
        page.fill(name, value)
    page.send(page.document.first("form.ct-confirm"))


def choose(page: Page, button: str, **fields: str) -> None:
    """The same in the browser."""
    page.get_by_role("link", name=button).first.click()
    for name, value in fields.items():
        page.locator(f"[name={name}]").fill(value)
    page.locator("form.ct-confirm").get_by_role("button").click()


def is_allowed(key: Key) -> bool:
    allowed: bool = key.client().get("/usage/access").json()["allowed"]
    return allowed


def test_a_lowered_limit_warns_pauses_and_is_raised(
    limit: SpendLimit, owner: User, organization: Organization, key: Key, send: Send
) -> None:
    page = PlainPage(owner)
    send({"cost_usd": "9"}, now=utc_now())
    page.goto("/admin/")
    assert page.document.all(".ct-banner") == []
    assert "$9.00 of $100.00" in page.document.first(".ct-spend-limit").text
    page.click("Organization, rolling 7 days", "link")
    assert bar(page)["aria-valuenow"] == "9"

    page.fill("amount_usd", "10")
    page.click("Save", "button")
    assert page.document.first(".ct-amount").text == "$9.00"
    assert page.document.first(".ct-of").text == "of $10.00"
    assert bar(page)["aria-valuetext"] == "$9.00 spent of $10.00"
    assert "Near the limit" in page.text

    send({"cost_usd": "1.5"}, now=utc_now())
    enforce(organization=organization, now=utc_now())
    page.goto("/admin/")
    banner = page.document.first(".ct-banner")
    for shown in ("$10.50 spent of $10.00", "Access is paused. It resumes in 7 days"):
        assert shown in banner.text
    assert not is_allowed(key)
    page.click("View limit", within=".ct-banner")
    assert "Full amount" in page.names("link")

    later = utc_now() + timedelta(days=3)
    confirm(page, "Raise until", amount_usd="30", ends_at_0=f"{later:%Y-%m-%d}", ends_at_1="12:00", reason="Launch")
    assert "Limit raised." in page.text
    assert page.document.first(".ct-of").text == "of $30.00"
    assert "Raised to $30.00" in page.text
    assert is_allowed(key)
    page.goto("/admin/")
    assert page.document.all(".ct-banner") == []


def test_access_is_paused_by_hand_and_resumed(day: SpendLimit, owner: User, key: Key) -> None:
    page = PlainPage(owner)
    open_first_limit(page)
    confirm(page, "Pause", reason="")
    assert "This field is required." in page.text
    page.fill("Reason", "Runaway script")
    page.click("Pause access", "button")
    assert "Access is paused manually: Runaway script" in page.text
    assert not is_allowed(key)
    page.goto("/admin/")
    assert "Paused manually" in page.document.first(".ct-banner").text

    open_first_limit(page)
    confirm(page, "Resume", reason="Fixed")
    assert "Access resumed." in page.text
    assert is_allowed(key)
    page.goto("/admin/organizations/auditentry/")
    for action in ("limit.paused", "limit.override_ended"):
        assert action in page.document.first("#result_list").text


def test_a_new_limit_bounds_each_user(owner: User, organization: Organization, send: Send, key: Key) -> None:
    page = PlainPage(owner)
    page.goto(LIMITS)
    assert "No limits yet" in page.headings()
    page.goto(f"{LIMITS}add/")
    page.fill("scope", "user")
    page.fill("window", "calendar_day")
    page.fill("amount_usd", "-1")
    page.click("Save", "button")
    assert "Must be an amount from 0 to" in page.text
    page.fill("amount_usd", "2")
    page.click("Save", "button")
    assert "No spend in this window." in page.text

    send({"user_id": "ada", "cost_usd": "2"}, {"user_id": "brin", "cost_usd": "1"}, now=utc_now())
    page.reload()
    first, _ = page.document.all(".ct-values tbody tr")
    for shown in ("ada", "Paused", "$2.00 of $2.00"):
        assert shown in first.text
    later = utc_now() + timedelta(days=3)
    page.goto(next(link["href"] for link in first.all("a[href]") if link.text == "Raise"))
    assert page.field("Value")["value"] == "ada"
    page.fill("amount_usd", "5")
    page.fill("ends_at_0", f"{later:%Y-%m-%d}")
    page.fill("Reason", "Demo")
    page.click("Raise", "button")
    assert "$2.00 of $5.00" in page.document.first(".ct-values").text


def test_the_form_of_a_limit_shows_only_the_fields_that_apply(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto(f"{LIMITS}add/")

    def assert_shown(*names: str) -> None:
        conditional = page.locator("[data-shown-if]")
        expect(conditional.locator("visible=true")).to_have_count(len(names))
        for name in names:
            expect(page.locator(f"[name={name}]")).to_be_visible()

    assert_shown("fallback_price", "cheaper_models")
    page.select_option("[name=scope]", "user")
    page.select_option("[name=window]", "calendar_month")
    page.select_option("[name=missing]", "default")
    always = ("scope_value", "month_day", "fallback_price", "cheaper_models")
    assert_shown(*always, "missing", "default_value", "member_list", "amount_list")
    page.fill("[name=default_value]", "unnamed")
    page.fill("[name=scope_value]", "ada")
    assert_shown(*always)
    page.select_option("[name=unit]", "tokens")
    page.fill("[name=amount_usd]", "1000")
    page.click("text=Save")
    expect(page.locator("h1, h2").first).to_be_visible()
    limit = SpendLimit.objects.get()
    assert (limit.scope_value, limit.missing, limit.default_value, limit.unit) == ("ada", "allow", "", "tokens")


def test_a_viewer_asks_for_more_and_the_owner_grants_it(
    day: SpendLimit, browse: Browse, owner: User, viewer: User
) -> None:
    page = browse(viewer)
    page.goto(LIMITS)
    page.locator("#result_list tbody").get_by_role("link").first.click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    expect(page.get_by_role("link", name="Raise until")).to_have_count(0)
    choose(page, "Request increase", amount_usd="25", reason="Reindexing the handbook")
    expect(page.get_by_text("Request sent to the owners and admins.")).to_be_visible()

    of_owner = PlainPage(owner)
    open_first_limit(of_owner)
    of_owner.click("$25.00", "link")
    later = utc_now() + timedelta(days=3)
    confirm(of_owner, "Approve", until_0=f"{later:%Y-%m-%d}", until_1="12:00", answer="Until Friday")
    assert "Request approved." in of_owner.text
    of_owner.goto(LIMITS)
    assert "of $25.00" in of_owner.document.first("#result_list").text


def test_a_webhooks_secret_is_seen_once(browse: Browse, owner: User, organization: Organization) -> None:
    page = browse(owner)
    page.goto("/admin/billing/webhookendpoint/add/")
    page.locator("[name=url]").fill("https://hooks.acme.example/limits")
    page.get_by_role("button", name="Save").click()
    secret = page.locator(".ct-secret code").last.inner_text()
    assert secret.startswith("whsec_")
    expect(page).to_have_url(re.compile(r"/change/$"))  # so that reloading does not send the form again
    page.reload()
    expect(page.get_by_text("Recent deliveries")).to_be_visible()
    assert secret not in page.content()
    assert WebhookEndpoint.objects.of(organization).count() == 1  # reloading has not sent the form again

    page.get_by_role("link", name="Send a test").click()
    page.get_by_role("button", name="Send a test").click()
    expect(page.get_by_text("Test queued.")).to_be_visible()
    page.goto("/admin/billing/delivery/")
    expect(page.locator("#result_list")).to_contain_text("A test message for Acme Research")


def test_gauges_fit_on_every_screen(
    limit: SpendLimit,
    day: SpendLimit,
    browse: Browse,
    owner: User,
    organization: Organization,
    send: Send,
) -> None:
    user = set_limit(organization, "1", LimitScope.USER, window=LimitWindow.CALENDAR_DAY)
    send({"user_id": "a-user-with-a-long-name-" * 5, "cost_usd": "12"}, now=utc_now())
    enforce(organization=organization, now=utc_now())
    page = browse(owner)
    pages = [f"{LIMITS}{item.pk}/change/" for item in (limit, day, user)]
    for path in ("/admin/", LIMITS, f"{LIMITS}add/", *pages, "/admin/billing/thresholdevent/"):
        page.goto(path)
        assert_fits_every_screen(page)
    page.goto(f"{LIMITS}{day.pk}/change/")
    for size, colors in SCREENS:
        show_on(page, size, colors)
        box = gauge(page).bounding_box()
        assert box is not None
        assert box["width"] > 200
