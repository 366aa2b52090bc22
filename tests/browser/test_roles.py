"""A viewer finds nothing to change, and nobody finds anything of another organization."""

import re

import pytest
from playwright.sync_api import Page, expect

from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.test_every_page import open_first_row, sidebar, visit
from tests.conftest import Key

pytestmark = pytest.mark.usefixtures("usage")

CHANGES = (
    *("Save", "Delete", "Add", "Rotate secret", "Revoke", "Try again", "Price now", "Set a price"),
    *("Raise until", "Pause by hand", "Resume by hand", "Remove", "Grant", "Decline", "Send again", "Send a test"),
)
OWN = "/admin/notification-preferences/"
"""Where a viewer, too, changes something: which e-mails they get."""
MADE_UP = "/admin/email-previews/"
"""Shows nobody's data."""


def assert_nothing_to_change(page: Page) -> None:
    content = page.locator("#main")
    for name in CHANGES:
        word = re.compile(rf"\b{name}\b")  # ids may have "add" in them
        for role in ("button", "link"):
            expect(content.get_by_role(role, name=word)).to_have_count(0)
    expect(content.locator("a.addlink, input.action-select")).to_have_count(0)


def test_a_viewer_sees_no_way_to_change_anything(browse: Browse, viewer: User, key: Key) -> None:
    page = browse(viewer)
    opened = 0
    for path in sidebar(page):
        visit(page, path)
        if path.endswith(OWN):
            continue
        assert_nothing_to_change(page)
        if open_first_row(page):
            assert_nothing_to_change(page)
            opened += 1
    assert opened >= 13


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
