"""What of the admin is there for whom. (Signing in itself: tests/organizations/accounts.)"""

from django.test import Client

from organizations.models import User


def test_operators_see_the_installations_section(operators_browser: Client, operator: User) -> None:
    assert b"Installation" in operators_browser.get("/admin/", follow=True).content


def test_members_do_not_see_the_installations_section(owners_browser: Client) -> None:
    assert b"Installation" not in owners_browser.get("/admin/", follow=True).content


def test_a_search_for_a_page_that_cannot_be_is_a_404(owners_browser: Client) -> None:
    assert owners_browser.get("/admin/search/?s=a").status_code == 200
    for page in ("x", "99"):
        assert owners_browser.get(f"/admin/search/?s=a&page={page}").status_code == 404
