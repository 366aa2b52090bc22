"""Every page of the sidebar, opened by a click, as owner, as viewer and as operator: each finds the same numbers, those
of the API, and nobody finds what is not for them or of another organization. (Who comes by address is in
`test_addresses`.)
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from billing.models import Execution, GenerationGroup, Session
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.screens import DESK, assert_well_formed
from tests.browser.test_every_page import open_first_row, sidebar_paths, visit
from tests.browser.test_ledger import assert_batches, assert_events, assert_unpriced_events
from tests.browser.test_limits import (
    assert_authorizations,
    assert_limits,
    assert_requests,
    assert_threshold_events,
    threshold_events,
)
from tests.browser.test_pricing import assert_pricing
from tests.browser.test_request_log import Calls, assert_calls
from tests.browser.test_runs import Runs, assert_cost
from tests.browser.test_sessions import assert_all
from tests.browser.test_settings import assert_credentials, assert_entries, assert_members, assert_prices, every
from tests.browser.test_tags import assert_tags
from tests.browser.test_usage import assert_as_answered
from tests.browser.walks import all_pages, answer, dollars, figures, leaving, listed, sidebar, start
from tests.conftest import Key

ACME = "/organizations/acme"
PAGES = (
    *("Usage", "API credentials", "Getting started"),
    *("Pricing", "Sessions & executions", "Runs", "Request log", "Tags"),
    *("Limits", "Increase requests", "Threshold events", "Authorizations", "Plan", "Exports"),
    *("All events", "All runs", "All sessions", "All executions", "All groups"),
    *("Batches", "Unpriced", "Quarantine", "Repricing"),
    *("Organization", "Members", "Prices", "Webhooks", "Deliveries", "E-mails you get", "E-mail previews", "Audit log"),
)
VIEWERS = tuple(name for name in PAGES if name != "E-mail previews")
OWNERS_ELSEWHERE = (
    *("Usage", "Pricing", "Sessions & executions", "Request log", "Exports"),
    *("Limits", "Increase requests", "Threshold events", "Authorizations", "Prices", "Webhooks", "Deliveries"),
)
OPERATORS_ELSEWHERE = (
    *("API credentials", "Getting started", "Runs", "Tags", "Plan", "Members", "Audit log"),
    *("All events", "All runs", "All sessions", "All executions", "All groups"),
    *("Batches", "Unpriced", "Quarantine", "Repricing"),
)
"""They are opened by a click, too, where each of their filters is used (the files of these pages)."""
INSTALLATION = ("All organizations", "Plans", "Users", "Health")
OWN = "E-mails you get"
"""Where a viewer, too, changes something."""

CHANGES = (
    *("Save", "Delete", "Add", "Rotate secret", "Revoke", "Retry", "Price now", "Set a price"),
    *("Raise until", "Pause", "Resume", "Remove", "Approve", "Decline", "Send again", "Send a test"),
    *("Reprice usage", "Issue a credential", "Edit", "Change"),
)
_OFFERED = """(main) => [...main.querySelectorAll("a, button, summary, input[type=submit], input[type=checkbox]")]
    .filter((one) => one.checkVisibility())
    .map((one) => [one.getAttribute("aria-label") || one.innerText || one.value, one.className])"""

Check = Callable[[Page], Any]


def checks(api: APIClient, *keys: Key) -> dict[str, Check]:
    """What a page must say, by its name in the sidebar."""
    events = all_pages(api, "/usage/events")
    calls, runs = Calls(api, *keys), Runs(api)
    unpriced = [event for event in events if event["unpriced_reason"]]
    month = answer(api, "/usage/summary")["spend"]["month_to_date_usd"]
    return {
        "Usage": lambda page: assert_as_answered(page, api),
        "API credentials": lambda page: assert_credentials(page, every(api, "credentials")),
        "Pricing": lambda page: assert_pricing(page, api),
        "Sessions & executions": lambda page: assert_all(page, api),
        "Runs": lambda page: assert_cost(page, runs, "night-2"),
        "Request log": lambda page: assert_calls(page, calls.rows(range="30d")),
        "Tags": lambda page: assert_tags(page, api),
        "Limits": lambda page: assert_limits(page, api, answer(api, f"{ACME}/limits")["results"]),
        "Increase requests": lambda page: assert_requests(page, answer(api, f"{ACME}/limit-requests")["results"]),
        "Threshold events": lambda page: assert_threshold_events(page, threshold_events(api)),
        "Authorizations": lambda page: assert_authorizations(page, answer(api, "/usage/authorizations")["results"]),
        "Plan": lambda page: assert_equal(figures(page)["Spent this month"], dollars(month)),
        "All events": lambda page: assert_events(page, events),
        "All runs": lambda page: assert_equal(len(listed(page)), len({event["run_id"] for event in events} - {""})),
        "All sessions": lambda page: assert_first_page(page, {event["session_id"] for event in events}, Session),
        "All executions": lambda page: assert_first_page(
            page, {event["execution_id"] for event in events if event["session_id"]}, Execution
        ),
        "All groups": lambda page: assert_first_page(page, {event["group_id"] for event in events}, GenerationGroup),
        "Batches": lambda page: assert_batches(page, events),
        "Unpriced": lambda page: assert_unpriced_events(page, unpriced),
        "Quarantine": lambda page: assert_equal(len(listed(page)), 2),
        "Members": lambda page: assert_members(page, every(api, "members")),
        "Prices": lambda page: assert_prices(page, every(api, "prices")),
        "Webhooks": lambda page: assert_equal(len(listed(page)), len(every(api, "webhooks"))),
        "Deliveries": lambda page: assert_equal(len(listed(page)), len(every(api, "deliveries"))),
        "Audit log": lambda page: assert_entries(page, every(api, "audit")),
    }


def assert_first_page(page: Page, ids: set[str], model: type[Session | Execution | GenerationGroup]) -> None:
    """A list has at most 50 rows on a page, and no row for what has only unfolded events."""
    listed_ids = {row["Id"] for row in listed(page)}
    assert listed_ids <= ids - {""}
    assert len(listed_ids) == min(50, model.objects.filter(organization__slug="acme", archived=False).count()) > 0


def assert_equal(shown: object, expected: object) -> None:
    assert shown == expected


def offered(page: Page) -> list[str]:
    """What there is to change: buttons and links that say so, signs to add, and boxes to choose rows by. (Ids may have
    "add" in them.)"""
    found = page.locator("#main").evaluate(_OFFERED)
    words = re.compile(rf"\b({'|'.join(CHANGES)})\b")
    return [label or kind for label, kind in found if words.search(label) or re.search("addlink|action-select", kind)]


def assert_nothing_to_change(page: Page) -> None:
    assert offered(page) == [], page.url


def names(page: Page) -> list[str]:
    return [link.inner_text().split("\n")[-1].strip() for link in sidebar(page).get_by_role("link").all()]


def walk(
    page: Page,
    expected: tuple[str, ...],
    must: dict[str, Check],
    elsewhere: tuple[str, ...] = (),
    on_page: Check = lambda _: None,
) -> None:
    start(page)
    assert names(page) == list(expected)
    for name in (name for name in expected if name not in elsewhere):
        with leaving(page):
            sidebar(page).get_by_role("link", name=name, exact=True).click()
        assert_well_formed(page)
        if name in must:
            must[name](page)
        if name != OWN:
            on_page(page)


@pytest.mark.usefixtures("arrangements")
def test_an_owner_finds_the_numbers_of_the_api(
    browse: Browse, owner: User, api: APIClient, key: Key, gateway: Key
) -> None:
    changed = set()

    def look(page: Page) -> None:
        if offered(page):
            changed.add(page.get_by_role("heading", level=1).inner_text().strip())

    walk(browse(owner, viewport=DESK), PAGES, checks(api, key, gateway), OWNERS_ELSEWHERE, look)
    assert changed >= {"API credentials", "Members", "Repricings", "Quarantined records", "Unpriced events"}


@pytest.mark.usefixtures("arrangements")
def test_an_operator_finds_the_same_and_the_installation(
    browse: Browse, operator: User, api: APIClient, key: Key, gateway: Key
) -> None:
    walk(browse(operator, viewport=DESK), (*PAGES, *INSTALLATION), checks(api, key, gateway), OPERATORS_ELSEWHERE)


@pytest.mark.usefixtures("arrangements")
def test_a_viewer_finds_the_same_and_nothing_to_change(
    browse: Browse, viewer: User, api: APIClient, key: Key, gateway: Key
) -> None:
    page = browse(viewer, viewport=DESK)
    opened = []

    def look(page: Page) -> None:
        assert_nothing_to_change(page)
        if open_first_row(page):
            assert_nothing_to_change(page)
            opened.append(page.url)

    walk(page, VIEWERS, checks(api, key, gateway), on_page=look)
    assert len(opened) >= 13


MADE_UP = "/admin/email-previews/"
"""Shows nobody's data."""


@pytest.mark.usefixtures("usage")
def test_a_member_sees_nothing_of_another_organization(
    browse: Browse, stranger: User, owner: User, organization: Organization, key: Key
) -> None:
    page = browse(stranger)
    foreign = (organization.name, owner.email, key.credential.client_id, "house-13b", "nightly", "early-1")
    for path in {path for path in sidebar_paths(page) if not path.endswith(MADE_UP)}:
        visit(page, path)
        shown = page.locator("body").inner_text()
        assert not [text for text in foreign if text in shown], path
    page.goto(f"/admin/billing/usageevent/?organization={organization.pk}")
    expect(page.locator(".ct-bar")).to_contain_text("Unknown organization.")
    page.goto(f"/admin/organizations/organization/{organization.pk}/change/")
    expect(page.get_by_text("Perhaps it was deleted?")).to_be_visible()
    expect(page).to_have_title("Usage | costtrack")


@pytest.mark.usefixtures("usage")
def test_only_operators_find_the_pages_of_people_and_plans(browse: Browse, owner: User, operator: User) -> None:
    page = browse(owner)
    page.goto("/admin/")
    expect(page.get_by_role("link", name="Users")).to_have_count(0)
    page = browse(operator)
    page.goto("/admin/")
    page.get_by_role("link", name="Users").click()
    expect(page.locator("#result_list")).to_contain_text(owner.email)
