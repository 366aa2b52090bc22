"""The organization switcher, as it is used: with few organizations, with many, and on a phone."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.browser.conftest import Browse

DESKTOP = {"viewport": {"width": 1280, "height": 720}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"}


@pytest.fixture
def many(viewer: User) -> User:
    """The viewer of Acme, who is in sixty other organizations, too."""
    others = [Organization.objects.create(slug=f"team-{n}", name=f"Team {n:02}") for n in range(60)]
    Membership.objects.bulk_create(Membership(organization=item, user=viewer, role=Role.VIEWER) for item in others)
    return viewer


def open_menu(page: Page) -> Any:
    page.goto("/o/acme/admin/billing/run/")
    if page.viewport_size is not None and page.viewport_size["width"] < 1000:
        page.get_by_role("button", name="Open the navigation").click()
    page.locator(".ct-switcher > summary").click()
    menu = page.get_by_role("navigation", name="Organizations")
    expect(menu).to_be_visible()
    return menu


@pytest.mark.parametrize("options", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_last_of_sixty_organizations_is_reached_by_scrolling_in_the_menu(
    browse: Browse, many: User, options: dict[str, Any]
) -> None:
    page = browse(many, **options)
    menu = open_menu(page)
    box, height = menu.bounding_box(), options["viewport"]["height"]
    assert box is not None
    assert box["y"] + box["height"] <= height, "the menu does not leave the window"
    expect(menu.get_by_role("link", name="Acme Research")).to_have_attribute("aria-current", "true")
    expect(menu.get_by_role("link", name="All organizations")).to_be_in_viewport()
    menu.get_by_role("link", name="Team 59").click()
    page.wait_for_url("**/o/team-59/admin/**")
