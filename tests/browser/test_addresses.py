"""Pages asked for by their address: by those who may not see them, by strangers, and by who is not signed in yet."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect
from rest_framework.test import APIClient

from organizations.models import Organization, User
from tests.browser.clicks import leaving
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage
from tests.browser.screens import DESK
from tests.browser.test_sign_in import sign_in
from tests.browser.walks import answer, dollars
from tests.pages import pages_of

pytestmark = pytest.mark.usefixtures("arrangements")

HERE = "/o/acme/admin"
FORMS = tuple(
    f"{HERE}/{name}/add/"
    for name in (
        *("organizations/apicredential", "organizations/membership"),
        *("billing/spendlimit", "billing/priceversion", "billing/webhookendpoint", "billing/repricing"),
    )
)
INSTALLATION = ("/admin/health/", "/admin/organizations/plan/", "/admin/organizations/user/")
DEEPER = (
    f"{HERE}/sessions/s/session-4/",
    f"{HERE}/executions/execution-1/",
    f"{HERE}/runs/r/night-1/",
    f"{HERE}/usage/export/?rows=days",
    f"{HERE}/exports/usage.csv",
    f"{HERE}/exports/pricing.zip",
)


def status(page: PlainPage, path: str) -> int:
    """Return the response without following redirects."""
    code: int = page.client.get(path).status_code
    return code


def test_what_is_not_in_a_sidebar_is_not_behind_its_address_either(owner: User, viewer: User, operator: User) -> None:
    for person, refused in ((viewer, (*FORMS, *INSTALLATION)), (owner, INSTALLATION)):
        page = PlainPage(person)
        shown = pages_of(page.client)
        for path in refused:
            assert path not in shown
            assert status(page, path) in (403, 404), (person.email, path)
    assert status(page, FORMS[0]) == 200
    page = PlainPage(operator)
    assert [status(page, path) for path in INSTALLATION] == [200] * len(INSTALLATION)


def test_strangers_find_nothing(stranger: User, owner: User, organization: Organization) -> None:
    pages = [path for path in pages_of(PlainPage(owner).client) if path.startswith(HERE)]
    assert len(pages) > 25
    member_of_another, anonymous = PlainPage(stranger), PlainPage()
    for path in (*pages, *DEEPER, *FORMS):
        assert status(member_of_another, path) == 404, path
        answered = anonymous.client.get(path)
        assert answered.status_code == 302, path
        assert parse_qs(urlsplit(answered["Location"]).query)["next"] == [path], path

    assert shown(member_of_another, f"{HERE}/usage/") == shown(member_of_another, "/o/nobodys/admin/usage/"), (
        "a foreign organization and an unknown one answer alike"
    )
    assert organization.name not in member_of_another.text


def test_who_signs_in_is_led_to_the_page(browse: Browse, viewer: User, api: APIClient) -> None:
    page = browse(viewport=DESK)
    page.goto(f"{HERE}/usage/?range=month&model=gpt-4.1")
    with leaving(page):
        sign_in(page, viewer.email)
    expect(page.get_by_role("heading", name="Cost by day and model, this month")).to_be_visible()
    expect(page.get_by_label("Model", exact=True)).to_have_value("gpt-4.1")
    reported = answer(api, "/usage/summary", range="month", model="gpt-4.1")
    expect(page.locator(".ct-figure", has=page.get_by_role("heading", name="Cost", exact=True)).first).to_contain_text(
        dollars(reported["cost_usd"])
    )


def shown(page: PlainPage, path: str) -> str:
    page.goto(path, status=404)
    return page.document.first("body").text
