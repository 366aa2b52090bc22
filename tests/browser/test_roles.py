"""Nobody finds anything of another organization. (What viewers find is in `test_walk_roles`.)"""

import pytest
from playwright.sync_api import expect

from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.test_every_page import sidebar, visit
from tests.conftest import Key

pytestmark = pytest.mark.usefixtures("usage")

MADE_UP = "/admin/email-previews/"
"""Shows nobody's data."""


def test_a_member_sees_nothing_of_another_organization(
    browse: Browse, stranger: User, owner: User, organization: Organization, key: Key
) -> None:
    page = browse(stranger)
    foreign = (organization.name, owner.email, key.credential.client_id, "house-13b", "nightly", "early-1")
    for path in {path for path in sidebar(page) if not path.endswith(MADE_UP)}:
        visit(page, path)
        shown = page.locator("body").inner_text()
        assert not [text for text in foreign if text in shown], path
    page.goto(f"/admin/billing/usageevent/?organization={organization.pk}")
    expect(page.locator(".ct-bar")).to_contain_text("There is no such organization.")
    page.goto(f"/admin/organizations/organization/{organization.pk}/change/")
    expect(page.get_by_text("Perhaps it was deleted?")).to_be_visible()
    expect(page).to_have_title("Usage | costtrack")


def test_only_operators_find_the_pages_of_people_and_plans(browse: Browse, owner: User, operator: User) -> None:
    page = browse(owner)
    page.goto("/admin/")
    expect(page.get_by_role("link", name="People")).to_have_count(0)
    page = browse(operator)
    page.goto("/admin/")
    page.get_by_role("link", name="People").click()
    expect(page.locator("#result_list")).to_contain_text(owner.email)
