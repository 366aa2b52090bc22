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
from tests.browser.screens import DESK, SCREENS, assert_fits_every_screen, show_on
from tests.browser.walks import answer, dollars, follow, leaving, listed, narrow, search, start
from tests.conftest import Key
from tests.limits import set_limit
from tests.usage import Send

ACME = "/organizations/acme"
WINDOWS = {
    "rolling_7d": "rolling 7 days",
    "calendar_day": "day",
    "calendar_week": "week",
    "calendar_month": "month",
    "lifetime": "all time",
}
STATES = {"granted": "granted", "declined": "declined", "open": "pending"}

Item = dict[str, Any]


@pytest.mark.usefixtures("arrangements")
def test_limits_and_what_came_of_them_are_as_the_api_says(browse: Browse, owner: User, api: APIClient) -> None:
    limits: list[Item] = answer(api, f"{ACME}/limits")["results"]
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
    reached = {
        threshold_event["limit"] for threshold_event in threshold_events(api) if not threshold_event["resolved_at"]
    }
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

    every = threshold_events(api)
    follow(page, "Threshold events", "Threshold events")
    assert_threshold_events(page, every)
    narrow(page, threshold="warning", state="open")
    assert_threshold_events(page, [one for one in every if 0 < one["threshold"] < 100 and not one["resolved_at"]])
    narrow(page, threshold="", state="", limit=str(every[0]["limit"]), when_to="2026-11-02")
    of_first = [one for one in every if one["limit"] == every[0]["limit"]]
    assert_threshold_events(page, [one for one in of_first if one["reached_at"] < "2026-11-03"])

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


def threshold_events(api: APIClient) -> list[Item]:
    """Of all limits; each with its limit's number."""
    return [
        {**threshold_event, "limit": limit["id"]}
        for limit in answer(api, f"{ACME}/limits")["results"]
        for threshold_event in answer(api, f"{ACME}/limits/{limit['id']}/threshold-events")["results"]
    ]


# --- The lists beside the answers ------------------------------------------------------------------------------


def assert_limits(page: Page, api: APIClient, limits: list[Item]) -> None:
    """One for each user shows whoever has spent the most; the API names those alone who are near it."""
    assert limits
    statuses = {one["id"]: one for one in answer(api, "/usage/limits")["limits"]}
    rows = listed(page)
    assert [row["Limit"] for row in rows] == [f"{whose(one)}\n{WINDOWS[one['window']]}" for one in limits]
    for row, limit in zip(rows, limits, strict=True):
        now = statuses.get(limit["id"])
        assert dollars(limit["amount_usd"]) in row["Spent"]
        if now is None:
            assert row["State"].casefold() in ("begins later", "ended")
        elif not now["of_each"]:
            held = f", {dollars(now['reserved_usd'])} reserved" if Decimal(now["reserved_usd"]) else ""
            gauge = f"{dollars(now['spent_usd'])} of {dollars(now['amount_usd'])} {int(now['percent'])} %{held}"
            assert row["Spent"] == gauge
            assert row["State"].casefold() == now["state"]


def whose(limit: Item) -> str:
    scope, value = limit["scope"], limit["scope_value"]
    if value or scope == "organization":
        return f"{scope.capitalize()} {value}".strip()
    return f"Each {scope}"


def assert_requests(page: Page, expected: list[Item]) -> None:
    assert expected
    assert [
        (
            row["Requested by"].partition("\n")[0],
            row["Requested"].partition("\n")[0],
            row["Reason"],
            row["State"].casefold(),
        )
        for row in listed(page)
    ] == [(one["requested_by"], dollars(one["amount_usd"]), one["reason"], STATES[one["state"]]) for one in expected]


def assert_threshold_events(page: Page, expected: list[Item]) -> None:
    assert expected

    def as_listed(one: Item) -> tuple[str, str, bool]:
        threshold = "Full amount" if one["threshold"] == 100 else f"{one['threshold']} %"
        return threshold, f"{dollars(one['spent_usd'])}\nof {dollars(one['amount_usd'])}", bool(one["resolved_at"])

    shown = [(row["Threshold"], row["Spent"], row["Below again"] != "-") for row in listed(page)]
    assert sorted(shown) == sorted(map(as_listed, expected))


def assert_authorizations(page: Page, expected: list[Item]) -> None:
    assert expected
    shown = [
        (row["Status"].casefold(), row["Reserved"], row["Settled at"], row["For"].partition("\n")[0])
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


def open_first_limit(page: Page) -> None:
    page.goto(LIMITS)
    page.locator("#result_list tbody").get_by_role("link").first.click()


def choose(page: Page, button: str, **fields: str) -> None:
    """A button of the page's head, and the form behind it."""
    page.get_by_role("link", name=button).first.click()
    for name, value in fields.items():
        page.locator(f"[name={name}]").fill(value)
    page.locator("form.ct-confirm").get_by_role("button").click()


def test_a_lowered_limit_warns_pauses_and_is_raised(
    limit: SpendLimit, browse: Browse, owner: User, organization: Organization, key: Key, send: Send
) -> None:
    page = browse(owner)
    send({"cost_usd": "9"}, now=utc_now())
    page.goto("/admin/")
    expect(page.locator(".ct-banner")).to_have_count(0)
    expect(page.locator(".ct-weekly")).to_contain_text("$9.00 of $100.00")
    page.get_by_role("link", name="Organization, rolling 7 days").click()
    expect(gauge(page)).to_have_attribute("aria-valuenow", "9")

    page.get_by_label("Amount").first.fill("10")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".ct-amount").first).to_have_text("$9.00")
    expect(page.locator(".ct-of").first).to_have_text("of $10.00")
    expect(gauge(page)).to_have_attribute("aria-valuetext", "$9.00 spent of $10.00")
    expect(page.get_by_text("Near the limit")).to_be_visible()

    send({"cost_usd": "1.5"}, now=utc_now())
    enforce(organization=organization, now=utc_now())
    page.goto("/admin/")
    banner = page.locator(".ct-banner")
    for shown in ("$10.50 spent of $10.00", "Access is paused. It resumes in 7 days", "Paused"):
        expect(banner).to_contain_text(shown)
    assert not key.client().get("/usage/access").json()["allowed"]
    banner.get_by_role("link", name="View limit").click()
    expect(page.get_by_role("link", name="Full amount")).to_be_visible()

    later = utc_now() + timedelta(days=3)
    choose(page, "Raise until", amount_usd="30", ends_at_0=f"{later:%Y-%m-%d}", ends_at_1="12:00", reason="Launch")
    expect(page.get_by_text("Limit raised.")).to_be_visible()
    expect(page.locator(".ct-of").first).to_have_text("of $30.00")
    expect(page.get_by_text("Raised to $30.00")).to_be_visible()
    assert key.client().get("/usage/access").json()["allowed"]
    page.goto("/admin/")
    expect(page.locator(".ct-banner")).to_have_count(0)


def test_access_is_paused_by_hand_and_resumed(day: SpendLimit, browse: Browse, owner: User, key: Key) -> None:
    page = browse(owner)
    open_first_limit(page)
    choose(page, "Pause", reason="")
    expect(page.get_by_text("This field is required.")).to_be_visible()
    page.get_by_label("Reason").fill("Runaway script")
    page.get_by_role("button", name="Pause access").click()
    expect(page.get_by_text("Access is paused manually: Runaway script")).to_be_visible()
    assert not key.client().get("/usage/access").json()["allowed"]
    page.goto("/admin/")
    expect(page.locator(".ct-banner")).to_contain_text("Paused manually")

    open_first_limit(page)
    choose(page, "Resume", reason="Fixed")
    expect(page.get_by_text("Access resumed.")).to_be_visible()
    assert key.client().get("/usage/access").json()["allowed"]
    page.goto("/admin/organizations/auditentry/")
    for action in ("limit.paused", "limit.override_ended"):
        expect(page.locator("#result_list")).to_contain_text(action)


def test_a_new_limit_bounds_each_user(
    browse: Browse, owner: User, organization: Organization, send: Send, key: Key
) -> None:
    page = browse(owner)
    page.goto(LIMITS)
    expect(page.get_by_role("heading", name="No limits yet")).to_be_visible()
    page.goto(f"{LIMITS}add/")
    page.locator("[name=scope]").select_option("user", force=True)
    page.locator("[name=window]").select_option("calendar_day", force=True)
    page.locator("[name=amount_usd]").fill("-1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("An amount from 0 to")).to_be_visible()
    page.locator("[name=amount_usd]").fill("2")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("No spend in this window.")).to_be_visible()

    send({"user_id": "ada", "cost_usd": "2"}, {"user_id": "brin", "cost_usd": "1"}, now=utc_now())
    page.reload()
    rows = page.locator(".ct-values tbody tr")
    expect(rows).to_have_count(2)
    for shown in ("ada", "Paused", "$2.00 of $2.00"):
        expect(rows.first).to_contain_text(shown)
    later = utc_now() + timedelta(days=3)
    rows.first.get_by_role("link", name="Raise").click()
    expect(page.get_by_label("Value")).to_have_value("ada")
    page.get_by_label("Amount until then").fill("5")
    page.locator("[name=ends_at_0]").fill(f"{later:%Y-%m-%d}")
    page.get_by_label("Reason").fill("Demo")
    page.get_by_role("button", name="Raise").click()
    expect(page.locator(".ct-values")).to_contain_text("$2.00 of $5.00")


def test_a_viewer_asks_for_more_and_the_owner_grants_it(
    day: SpendLimit, browse: Browse, owner: User, viewer: User
) -> None:
    page = browse(viewer)
    open_first_limit(page)
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    expect(page.get_by_role("link", name="Raise until")).to_have_count(0)
    choose(page, "Request increase", amount_usd="25", reason="Reindexing the handbook")
    expect(page.get_by_text("Request sent to the owners.")).to_be_visible()

    page = browse(owner)
    open_first_limit(page)
    page.get_by_role("link", name="$25.00").click()
    later = utc_now() + timedelta(days=3)
    choose(page, "Approve", until_0=f"{later:%Y-%m-%d}", until_1="12:00", answer="Until Friday")
    expect(page.get_by_text("Request approved.")).to_be_visible()
    page.goto(LIMITS)
    expect(page.locator("#result_list")).to_contain_text("of $25.00")


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
    pages = [f"{LIMITS}{one.pk}/change/" for one in (limit, day, user)]
    for path in ("/admin/", LIMITS, f"{LIMITS}add/", *pages, "/admin/billing/thresholdevent/"):
        page.goto(path)
        assert_fits_every_screen(page)
    page.goto(f"{LIMITS}{day.pk}/change/")
    for size, colors in SCREENS:
        show_on(page, size, colors)
        box = gauge(page).bounding_box()
        assert box is not None
        assert box["width"] > 200
