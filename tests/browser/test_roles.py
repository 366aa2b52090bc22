"""Every page of the navigation, as owner, as viewer and as operator: each sees the same numbers, those of the API, and
nothing of another role or organization. (`test_addresses` opens pages by their URLs.)

The owner follows the navigation. What the others see is compared as the server sends it. (`test_quality`
opens all pages in the browser.)
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.models import Execution, GenerationGroup, Session
from costtrack.navigation import ENTRIES
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage
from tests.browser.screens import DESK
from tests.browser.test_every_page import visit
from tests.browser.test_explore import assert_explore
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
from tests.browser.test_usage import assert_as_answered
from tests.browser.walks import all_pages, answer, dollars, figures, follow, listed, start
from tests.conftest import Key
from tests.pages import kind_of, links_of, pages_of, signed_in
from tests.profiles import choose

ACME = "/organizations/acme"
PAGES = tuple(tab.title for entry in ENTRIES for tab in entry.tabs if not entry.is_of_installation)[1:]
"""On the pages of one organization, which have no overview of all."""
MANAGED = ("Import files", "Credentials", "Members", "Teams", "Email addresses", "Email previews", "Audit log")
VIEWERS = tuple(name for name in PAGES if name not in MANAGED)
OWNERS_ELSEWHERE = (
    *("Usage", "Explore", "Pricing", "Sessions", "Request log", "Exports"),
    *("Limits", "Limit requests", "Alerts", "Authorizations", "Prices", "Webhooks", "Deliveries"),
)
"""They are compared with the API where each of their filters is used (the files of these pages)."""
OWN = ("Email notifications", "Explore")
"""Where a viewer, too, changes something."""
MEMBERS_OWN = "My usage"
"""An operator who is no member has none."""

CHANGES = (
    *("Save", "Delete", "Add", "Rotate secret", "Revoke", "Retry", "Reprice now", "Add price"),
    *("Raise until", "Pause", "Resume", "Remove", "Approve", "Decline", "Send again", "Send a test"),
    *("Reprice usage", "Create credential", "Invite member", "Import a file", "Edit", "Change"),
)
_CHANGE = re.compile(rf"\b({'|'.join(CHANGES)})\b")
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}

Check = Callable[[PlainPage], Any]


def checks(api: APIClient, *keys: Key) -> dict[str, Check]:
    """What a page must say, by its name in the navigation."""
    events = all_pages(api, "/usage/events")
    calls, runs = Calls(api, *keys), Runs(api)
    unpriced = [event for event in events if event["unpriced_reason"]]
    month = answer(api, "/usage/summary")["spend"]["month_to_date_usd"]
    return {
        "Usage": lambda page: assert_as_answered(page, api),
        "Credentials": lambda page: assert_credentials(page, every(api, "credentials")),
        "Pricing": lambda page: assert_pricing(page, api),
        "Sessions": lambda page: assert_all(page, api),
        "Runs": lambda page: assert_cost(page, runs, "night-2"),
        "Request log": lambda page: assert_calls(page, calls.rows(range="30d")),
        "Explore": lambda page: assert_explore(page, api, range="month", group_by="model"),
        "Limits": lambda page: assert_limits(page, api, answer(api, f"{ACME}/limits")["results"]),
        "Limit requests": lambda page: assert_requests(page, answer(api, f"{ACME}/limit-requests")["results"]),
        "Alerts": lambda page: assert_threshold_events(page, threshold_events(api)),
        "Authorizations": lambda page: assert_authorizations(page, answer(api, "/usage/authorizations")["results"]),
        "Plan": lambda page: assert_equal(figures(page)["Spent this month"], dollars(month)),
        "All events": lambda page: assert_events(page, events),
        "All runs": lambda page: assert_equal(len(listed(page)), len({event["run_id"] for event in events} - {""})),
        "All sessions": lambda page: assert_first_page(page, {event["session_id"] for event in events}, Session),
        "All executions": lambda page: assert_first_page(
            page, {event["execution_id"] for event in events if event["session_id"]}, Execution
        ),
        "Groups": lambda page: assert_first_page(page, {event["group_id"] for event in events}, GenerationGroup),
        "Batches": lambda page: assert_batches(page, events),
        "Unpriced": lambda page: assert_unpriced_events(page, unpriced),
        "Quarantine": lambda page: assert_equal(len(listed(page)), 2),
        "Members": lambda page: assert_members(page, every(api, "members")),
        "Prices": lambda page: assert_prices(page, every(api, "prices")),
        "Webhooks": lambda page: assert_equal(len(listed(page)), len(every(api, "webhooks"))),
        "Deliveries": lambda page: assert_equal(len(listed(page)), len(every(api, "deliveries"))),
        "Audit log": lambda page: assert_entries(page, every(api, "audit")),
    }


def assert_first_page(page: PlainPage, ids: set[str], model: type[Session | Execution | GenerationGroup]) -> None:
    """A list has at most 50 rows on a page, and no row for what has only unfolded events."""
    listed_ids = {row["Id"] for row in listed(page)}
    assert listed_ids <= ids - {""}
    assert len(listed_ids) == min(50, model.objects.filter(organization__slug="acme", archived=False).count()) > 0


def assert_equal(shown: object, expected: object) -> None:
    assert shown == expected


@pytest.mark.usefixtures("arrangements")
def test_an_owner_finds_the_numbers_of_the_api(owner: User, api: APIClient, key: Key, gateway: Key) -> None:
    page = PlainPage(owner)
    start(page)
    must = checks(api, key, gateway)
    for name in (name for name in PAGES if name not in OWNERS_ELSEWHERE):
        follow(page, name)
        if name in must:
            must[name](page)


# --- Pages as the server sends them ----------------------------------------------------------------------------


@dataclass
class Sent(HTMLParser):
    """The numbers in the tables and figures of a page, and what it offers to change: buttons and links that say so,
    signs to add, and boxes to choose rows by. (Ids may have "add" in them.)"""

    html: str
    title: str = ""
    numbers: list[str] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)
    _inside: list[tuple[str, dict[str, str], list[str]]] = field(default_factory=list)
    """Elements that have not ended: their tags, attributes and texts."""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in _VOID:
            if tag == "input" and attributes.get("type") in ("submit", "checkbox"):
                self._offer(attributes, attributes.get("value", ""))
        else:
            self._inside.append((tag, attributes, []))

    def handle_data(self, data: str) -> None:
        for _, _, texts in self._inside:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        while self._inside:
            ended, attributes, texts = self._inside.pop()
            self._end(ended, attributes, " ".join("".join(texts).split()))
            if ended == tag:
                return

    def _end(self, tag: str, attributes: dict[str, str], text: str) -> None:
        if tag == "h1":
            self.title = text
        if not any(around.get("id") == "main" for _, around, _ in self._inside):
            return
        if tag in ("a", "button", "summary"):
            self._offer(attributes, text)
        if tag in ("td", "th", "strong") and re.search(r"\d", text):
            self.numbers.append(text)

    def _offer(self, attributes: dict[str, str], text: str) -> None:
        label, kind = attributes.get("aria-label") or text, attributes.get("class", "")
        if _CHANGE.search(label) or re.search("addlink|action-select", kind):
            self.offered.append(label or kind)


def sent(client: Client, path: str) -> Sent:
    response = client.get(path)
    assert response.status_code == 200, path
    return Sent(response.content.decode())


@pytest.mark.usefixtures("arrangements", "whole_history")
def test_viewers_and_operators_find_the_same_numbers_and_viewers_nothing_to_change(
    owner: User, viewer: User, operator: User
) -> None:
    """Those that an owner finds, who is walked about in the browser."""
    owners, viewers, operators = map(signed_in, (owner, viewer, operator))
    paths = dict(zip(PAGES, pages_of(owners), strict=True))
    assert pages_of(viewers) == [paths[name] for name in VIEWERS]
    assert pages_of(operators)[: len(PAGES)] == list(paths.values())
    for path in pages_of(operators)[len(PAGES) :]:
        assert sent(operators, path).title
    changed, with_numbers = set(), 0
    for name, path in paths.items():
        owned = sent(owners, path)
        with_numbers += bool(owned.numbers)
        if owned.offered:
            changed.add(owned.title)
        assert sent(operators, path).numbers == ([] if name == MEMBERS_OWN else owned.numbers), path
        if name in VIEWERS:
            viewed = sent(viewers, path)
            assert viewed.numbers == owned.numbers, path
            assert name in OWN or viewed.offered == [], path
    assert changed >= {"Credentials", "Members", "Repricing", "Quarantine", "Unpriced"}
    assert with_numbers >= 15


@pytest.mark.usefixtures("arrangements")
def test_a_viewer_opens_the_first_row_of_each_list_and_finds_nothing_to_change(browse: Browse, viewer: User) -> None:
    """In the browser every third one in the short profile: its fields are texts, as on the others."""
    client = signed_in(viewer)
    page = browse(viewer, viewport=DESK)
    links = {path: links_of(client.get(path).content.decode()) for path in pages_of(client)}
    rows = [urljoin(path, link) for path in links for link in links[path] if "/change/" in link]
    firsts = list({kind_of(row): row for row in reversed(rows)}.values())
    assert len(firsts) >= 13
    for number, path in enumerate(firsts):
        assert Sent(client.get(path, follow=True).content.decode()).offered == [], path
        if number % choose(3, long=1) == 0:
            visit(page, path)
            assert Sent(page.content()).offered == [], path


MADE_UP = "/admin/email-previews/"
"""Shows nobody's data."""


@pytest.mark.usefixtures("usage")
def test_a_member_sees_nothing_of_another_organization(
    stranger: User, owner: User, organization: Organization, key: Key
) -> None:
    client = signed_in(stranger)
    foreign = (organization.name, owner.email, key.credential.client_id, "house-13b", "nightly", "early-1")
    paths = [path for path in pages_of(client, "/o/globex/admin/") if not path.endswith(MADE_UP)]
    assert len(paths) > 25
    for path in paths:
        response = client.get(path)
        assert response.status_code == 200, path
        assert not [text for text in foreign if text in response.content.decode()], path
    unknown = client.get(f"/admin/billing/usageevent/?organization={organization.pk}", follow=True)
    assert "Unknown organization." in unknown.content.decode()
    missing = client.get(f"/admin/organizations/organization/{organization.pk}/change/", follow=True)
    assert "Perhaps it was deleted?" in missing.content.decode()
    assert re.search(r"<title>\s*Usage · Globex Labs \| costtrack\s*</title>", missing.content.decode())


@pytest.mark.usefixtures("usage")
def test_only_operators_find_the_pages_of_people_and_plans(owner: User, operator: User) -> None:
    users = "/admin/organizations/user/"
    assert users not in pages_of(signed_in(owner), "/admin/")
    client = signed_in(operator)
    assert users in pages_of(client, "/admin/")
    assert owner.email in client.get(users).content.decode()
