"""What of the admin is there for whom. (Signing in itself: tests/organizations/accounts.)"""

from django.test import Client

from organizations.models import User


def test_operators_see_the_installations_section(operators_browser: Client, operator: User) -> None:
    assert b"Installation" in operators_browser.get("/admin/", follow=True).content


def test_members_do_not_see_the_installations_section(owners_browser: Client) -> None:
    assert b"Installation" not in owners_browser.get("/admin/", follow=True).content
