"""Pages open in a hand and in the dark: those that no other one leads to (`test_quality` opens all others on a desk and
in a hand).

In the long profile all pages of the sidebar do, with the forms of each list.
"""

import pytest
from django.contrib import admin
from django.urls import reverse
from playwright.sync_api import Page, expect

from organizations.models import User
from tests import profiles
from tests.browser.conftest import Browse
from tests.browser.screens import HAND, assert_well_formed
from tests.pages import pages_of, signed_in


def visit(page: Page, path: str) -> None:
    response = page.goto(path)
    assert response is not None
    assert response.status == 200, path
    assert_well_formed(page)


def open_first_row(page: Page) -> bool:
    link = page.locator("#result_list tbody :is(th, td) > a[href*='/change/']").first
    if not link.count():
        return False
    link.click()
    expect(page.locator("form[id$=_form]")).to_be_visible()
    return True


# What viewers see is in test_roles.
@pytest.mark.usefixtures("usage", "key")
def test_every_page_opens_without_an_error(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=HAND, color_scheme="dark")
    for path in ("/admin/billing/", "/admin/password_change/"):
        visit(page, path)
    if not profiles.IS_LONG:
        return
    paths = pages_of(signed_in(owner))
    assert len(paths) >= 20
    for path in paths:
        visit(page, path)
        add = page.locator("a.addlink").first
        if add.count():
            visit(page, add.get_attribute("href") or "")
            page.go_back()
        if open_first_row(page):
            assert_well_formed(page)


def test_the_sidebar_leads_to_every_list(operator: User) -> None:
    names = [f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry]
    lists = {reverse(f"admin:{name}_changelist") for name in names}
    assert lists <= set(pages_of(signed_in(operator), "/admin/"))
