"""Pages asked for by their address: by those who may not see them, by strangers, and by who is not signed in yet."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.screens import DESK
from tests.browser.test_sign_in import sign_in
from tests.browser.walks import answer, dollars, figures, leaving, sidebar, start

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


def addresses(page: Page) -> list[str]:
    """Where the sidebar leads."""
    start(page)
    return [link.get_attribute("href") or "" for link in sidebar(page).get_by_role("link").all()]


def status(page: Page, path: str) -> int:
    """What this browser is answered, without being led elsewhere."""
    return page.request.get(path, max_redirects=0).status


def test_what_is_not_in_a_sidebar_is_not_behind_its_address_either(
    browse: Browse, owner: User, viewer: User, operator: User
) -> None:
    for person, refused in ((viewer, (*FORMS, *INSTALLATION)), (owner, INSTALLATION)):
        page = browse(person, viewport=DESK)
        shown = addresses(page)
        for path in refused:
            assert path not in shown
            assert status(page, path) in (403, 404), (person.email, path)
    assert status(page, FORMS[0]) == 200
    page = browse(operator, viewport=DESK)
    assert [status(page, path) for path in INSTALLATION] == [200] * len(INSTALLATION)


def test_strangers_find_nothing_and_who_signs_in_is_led_to_the_page(
    browse: Browse, stranger: User, owner: User, viewer: User, organization: Organization, api: APIClient
) -> None:
    pages = [path for path in addresses(browse(owner, viewport=DESK)) if path.startswith(HERE)]
    assert len(pages) > 25
    member_of_another, nobody = browse(stranger, refused_with=404, viewport=DESK), browse(viewport=DESK)
    for path in (*pages, *DEEPER, *FORMS):
        assert status(member_of_another, path) == 404, path
        answered = nobody.request.get(path, max_redirects=0)
        assert answered.status == 302, path
        assert parse_qs(urlsplit(answered.headers["location"]).query)["next"] == [path], path

    assert shown(member_of_another, f"{HERE}/usage/") == shown(member_of_another, "/o/nobodys/admin/usage/"), (
        "a foreign organization and an unknown one answer alike"
    )
    assert organization.name not in member_of_another.content()

    nobody.goto(f"{HERE}/usage/?range=month&model=gpt-4.1")
    with leaving(nobody):
        sign_in(nobody, viewer.email)
    expect(nobody.get_by_role("heading", name="This month")).to_be_visible()
    expect(nobody.get_by_label("Model", exact=True)).to_have_value("gpt-4.1")
    reported = answer(api, "/usage/summary", range="month", model="gpt-4.1")
    assert figures(nobody)["Cost"] == dollars(reported["cost_usd"])


def shown(page: Page, path: str) -> str:
    page.goto(path)
    return page.locator("body").inner_text()
