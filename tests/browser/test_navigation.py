"""The navigation as the server sends it: the sidebar, the tabs of its entries, titles and landmarks, for each role."""

import re

import pytest
from django.test import Client

from costtrack.clock import utc_now
from costtrack.navigation import ENTRIES
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.browser.plain_pages import PlainPage
from tests.browser.walks import SIDEBAR, TABS, tabs
from tests.pages import kind_of, pages_of, signed_in
from tests.usage import Send

HERE = "/o/acme/admin/"
ENTRY_TITLES = (
    *("Usage", "Explore", "Requests", "Runs & sessions", "Limits"),
    *("Credentials", "Getting started", "Billing", "Settings"),
)


def lit(page: PlainPage) -> list[str]:
    return [link.name for link in page.document.all(f"{SIDEBAR} a[aria-current]")]


def current_tabs(page: PlainPage) -> list[str]:
    return [link.name for link in page.document.all(f"{TABS} a[aria-current]")]


@pytest.fixture
def member(organization: Organization) -> User:
    user = User.objects.create_user("member@acme.example")
    Membership.objects.create(organization=organization, user=user, role=Role.MEMBER, user_ids=["member"])
    return user


def test_the_sidebar_has_ten_entries(owner: User) -> None:
    page = PlainPage(owner)
    page.goto(f"{HERE}plan/")
    assert tuple(page.names("link", SIDEBAR)) == ENTRY_TITLES


@pytest.mark.usefixtures("organization")
def test_every_page_lights_its_entry_and_its_tab_alone_and_has_their_title(operator: User) -> None:
    """Operators have all of them; the pages of the installation have no organization in their titles."""
    page = PlainPage(operator)
    declared = [(entry, tab) for entry in ENTRIES[1:] for tab in entry.tabs]
    problems, in_tabs = [], list[str]()
    paths = pages_of(page.client, HERE)
    for (entry, tab), path in zip(declared, paths, strict=True):
        page.goto(path)
        if path not in in_tabs:
            in_tabs += [link["href"] for link in page.document.all(f"{TABS} a")] or [path]
        title = f"{tab.title} | costtrack" if entry.is_of_installation else f"{tab.title} · Acme Research | costtrack"
        found = (lit(page), current_tabs(page) or [tab.title], page.heading, page.title)
        if found != ([entry.title], [tab.title], tab.title, title):
            problems.append((path, found))
    assert problems == []
    assert in_tabs == paths, "the palette lists the tabs of each entry"


@pytest.mark.parametrize(
    ("path", "entry", "tab"),
    [
        ("runs/r/run-1/", "Runs & sessions", "Runs"),
        ("sessions/s/session-1/", "Runs & sessions", "Sessions"),
        ("executions/execution-1/", "Runs & sessions", "Sessions"),
        ("billing/spendlimit/add/", "Limits", "Limits"),
        ("organizations/membership/add/", "Settings", "Members"),
    ],
)
def test_pages_of_rows_light_the_tab_of_their_list(owner: User, send: Send, path: str, entry: str, tab: str) -> None:
    names = {"run_id": "run-1", "session_id": "session-1", "execution_id": "execution-1"}
    send({**names, "occurred_at": utc_now().isoformat(), "cost_usd": "1"}, now=utc_now())
    page = PlainPage(owner)
    page.goto(f"{HERE}{path}")
    assert (lit(page), current_tabs(page)) == ([entry], [tab])
    assert page.document.first("h1 a").text == tab


def test_a_viewer_and_a_member_see_what_they_may_open(viewer: User, member: User) -> None:
    page = PlainPage(viewer)
    page.goto(f"{HERE}plan/")
    assert page.names("link", SIDEBAR) == [title for title in ENTRY_TITLES if title != "Credentials"]
    page.goto(f"{HERE}billing/webhookendpoint/")
    assert tabs(page) == ["Organization", "Webhooks", "Email notifications", "Email reports", "Notices", "Deliveries"]
    page = PlainPage(member)
    page.goto(f"{HERE}my-usage/")
    assert page.names("link", SIDEBAR) == ["My usage", "Email notifications"]
    assert tabs(page) == []


def test_operators_stay_outside_of_organizations(operator: User, organization: Organization) -> None:
    """Whatever they have looked at before: no page of the installation redirects into an organization."""
    client = signed_in(operator)
    assert client.get(f"{HERE}usage/").status_code == 200
    paths = pages_of(client, "/admin/")
    assert {kind_of(path).partition(":")[0] for path in paths} == {"all"}
    of_one = [path for path in paths if "/billing/" not in path and "/organizations/" not in path]
    assert {path: status for path in of_one if (status := client.get(path).status_code) != 200} == {}
    assert "Choose an organization" in client.get("/admin/usage/").content.decode()


def test_every_page_has_a_skip_link_and_one_main_landmark(owner: User) -> None:
    html = signed_in(owner).get(f"{HERE}usage/").content.decode()
    assert len(re.findall(r"<main\b", html)) == 1
    body = html.partition("<body")[2]
    assert re.search(r"<a [^>]*href=\"([^\"]*)\"", body) is not None
    assert re.findall(r"<a [^>]*href=\"([^\"]*)\"", body)[0] == "#content"
    assert 'id="content"' in html


def test_the_switcher_offers_every_organization_on_a_page_of_one(owner: User, other_organization: Organization) -> None:
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    page = PlainPage(owner)
    page.goto(f"{HERE}usage/")
    assert page.names("link", "nav[aria-label=Organizations]") == ["Acme Research", "Globex Labs", "All organizations"]
    page.click("Globex Labs", "link", "nav[aria-label=Organizations]")
    assert page.url.startswith("/o/globex/admin/")


def test_strangers_have_no_palette(organization: Organization, stranger: User) -> None:
    assert Client().get(f"{HERE}search/?s=usage").status_code == 302
    assert signed_in(stranger).get(f"{HERE}search/?s=usage").status_code == 404
