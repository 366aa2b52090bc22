"""The organization switcher: everywhere, and with all organizations of the person, in the order of their names."""

import html
import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.conftest import Key
from tests.pages import pages_of

NAVIGATION = re.compile(r'<nav aria-label="Organizations">(.*?)</nav>', re.DOTALL)
CHOICE = re.compile(r'<a href="([^"]*)"( aria-current="true")?>\s*<span>([^<]*)</span>')
ALL = re.compile(r'<a class="ct-switcher-all" href="([^"]*)">All organizations</a>')
Browser = Callable[[User], Client]
Choices = list[tuple[str, str, bool]]


def choices_on(page: str) -> Choices:
    """Name, address and whether it is marked as the current one, as the menu has them; empty without a menu."""
    match = NAVIGATION.search(page)
    if match is None:
        return []
    return [(name, url, bool(current)) for url, current, name in CHOICE.findall(match[1])]


def named(choices: Choices) -> list[str]:
    return [name for name, _, _ in choices]


def join(user: User, *names: str, role: Role = Role.VIEWER) -> list[Organization]:
    organizations = [Organization.objects.create(slug=f"o-{index}", name=name) for index, name in enumerate(names)]
    Membership.objects.bulk_create(
        Membership(organization=organization, user=user, role=role) for organization in organizations
    )
    return organizations


@pytest.fixture
def browser() -> Browser:
    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return signed_in


@pytest.fixture
def of_both(owner: User, other_organization: Organization) -> User:
    """The owner of Acme, who only looks at Globex."""
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    return owner


def test_every_page_about_an_organization_lists_all_of_the_persons(of_both: User, browser: Browser, key: Key) -> None:
    """Row-level security hides the other organization from these pages; the menu has it all the same."""
    client = browser(of_both)
    credential, member = key.credential.pk, of_both.memberships.get(role=Role.OWNER).pk
    details = [
        f"/o/acme/admin/organizations/apicredential/{credential}/change/",
        f"/o/acme{reverse('admin:organizations_apicredential_rotate', args=[credential])}",
        f"/o/acme/admin/organizations/membership/{member}/change/",
        "/o/acme/admin/organizations/membership/add/",
        "/o/acme/admin/billing/spendlimit/add/",
    ]
    pages = [*pages_of(client), *details]
    assert len(pages) > 20
    for path in pages:
        assert choices_on(client.get(path, follow=True).content.decode()) == [
            ("Acme Research", "/o/acme/admin/", True),
            ("Globex Labs", "/o/globex/admin/", False),
        ], path


def test_every_page_about_no_organization_marks_none(of_both: User, browser: Browser) -> None:
    client = browser(of_both)
    pages = ["/admin/", "/admin/billing/spendlimit/", "/admin/organizations/apicredential/"]
    for path in pages:
        match = choices_on(client.get(path).content.decode())
        assert [(name, current) for name, _, current in match] == [("Acme Research", False), ("Globex Labs", False)], (
            path
        )


def test_the_other_organization_is_one_click_away(of_both: User, browser: Browser) -> None:
    client = browser(of_both)
    menu = choices_on(client.get("/o/acme/admin/usage/").content.decode())
    page = client.get({name: url for name, url, _ in menu}["Globex Labs"], follow=True)
    assert page.redirect_chain[-1][0] == "/o/globex/admin/usage/"
    marked = [name for name, _, current in choices_on(page.content.decode()) if current]
    assert marked == ["Globex Labs"]


def test_names_are_in_order_with_any_letters(viewer: User, browser: Browser) -> None:
    join(
        viewer,
        "zebra",
        "Ärzte ohne Modell",
        "beta",
        "Zulu",
        "Éclair",
        "Übermut",
        "alpha",
        "Beta",
        "東京",
        "<b>Bold</b>",
    )
    menu = choices_on(browser(viewer).get("/o/acme/admin/billing/run/").content.decode())
    assert [html.unescape(name) for name in named(menu)] == [
        *("<b>Bold</b>", "Acme Research", "alpha", "Ärzte ohne Modell", "Beta", "beta", "Éclair", "Übermut"),
        *("zebra", "Zulu", "東京"),
    ]


def test_a_user_with_one_organization_has_nothing_to_choose(owner: User, browser: Browser) -> None:
    page = browser(owner).get("/o/acme/admin/billing/run/").content.decode()
    assert choices_on(page) == []
    assert "ct-switcher-name" in page
    assert "Acme Research" in page.split("ct-switcher-name")[1][:200]


def test_a_user_with_sixty_organizations_sees_all_sixty(viewer: User, browser: Browser) -> None:
    names = [f"Team {number:02}" for number in range(1, 60)]
    join(viewer, *reversed(names))
    page = browser(viewer).get("/o/acme/admin/billing/run/").content.decode()
    assert named(choices_on(page)) == ["Acme Research", *names]
    assert ALL.findall(page) == ["/admin/"]


def test_the_menu_costs_no_statement_however_many_there_are(viewer: User, browser: Browser) -> None:
    def statements() -> int:
        client = browser(viewer)
        client.get("/o/acme/admin/billing/run/")
        with CaptureQueriesContext(connection) as queries:
            assert client.get("/o/acme/admin/billing/run/").status_code == 200
        return len(queries)

    alone = statements()
    join(viewer, *(f"Team {number}" for number in range(60)))
    assert statements() == alone


def test_organizations_of_others_are_not_listed(viewer: User, stranger: User, browser: Browser) -> None:
    join(viewer, "Second")
    page = browser(viewer).get("/o/acme/admin/billing/run/").content.decode()
    assert named(choices_on(page)) == ["Acme Research", "Second"]
    assert "Globex" not in page


def test_a_user_who_has_left_an_organization_does_not_see_it(of_both: User, browser: Browser) -> None:
    of_both.memberships.filter(role=Role.VIEWER).delete()
    page = browser(of_both).get("/o/acme/admin/billing/run/").content.decode()
    assert choices_on(page) == []
    assert "Globex" not in page


def test_operators_see_the_first_of_all_and_the_current_one(operator: User, browser: Browser) -> None:
    Organization.objects.bulk_create(Organization(slug=f"o-{n}", name=f"team {n:02}") for n in range(30))
    Organization.objects.create(slug="last", name="Zulu")
    client = browser(operator)
    for path in ("/admin/", "/o/last/admin/organizations/membership/", "/admin/health/", "/admin/organizations/user/"):
        page = client.get(path).content.decode()
        about = ["Zulu"] if path.startswith("/o/last/") else []
        assert named(choices_on(page)) == [*(f"team {n:02}" for n in range(20)), *about], path
        assert [name for name, _, current in choices_on(page) if current] == about
        assert ALL.findall(page) == ["/admin/organizations/organization/"]
