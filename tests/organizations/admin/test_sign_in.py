"""Signing in to the admin."""

import pytest
from django.test import Client

from organizations.models import Membership, User
from tests.conftest import Key

LOGIN = "/admin/login/"
PASSWORD = "correct-horse-battery"


def sign_in(client: Client, email: str, password: str = PASSWORD) -> tuple[int, str]:
    response = client.post(LOGIN, {"username": email, "password": password})
    return response.status_code, response.content.decode()


@pytest.mark.parametrize("email", ["owner@acme.example", "OWNER@acme.example", "viewer@acme.example"])
def test_members_sign_in_by_e_mail_address(client: Client, owner: User, viewer: User, email: str) -> None:
    assert sign_in(client, email)[0] == 302
    page = client.get("/admin/")
    assert page.status_code == 200
    assert b"API credentials" in page.content


def test_operators_sign_in_and_see_the_installations_section(client: Client, operator: User) -> None:
    assert sign_in(client, operator.email)[0] == 302
    assert b"Installation" in client.get("/admin/").content


def test_members_do_not_see_the_installations_section(owners_browser: Client) -> None:
    assert b"Installation" not in owners_browser.get("/admin/").content


def test_whoever_may_not_come_in_gets_the_same_answer_as_for_a_wrong_password(client: Client, owner: User) -> None:
    User.objects.create_user("lonely@example.com", PASSWORD)
    User.objects.create_user("former@acme.example", PASSWORD, is_active=False)
    tries = [("lonely@example.com", PASSWORD), ("former@acme.example", PASSWORD), ("nobody@x.example", PASSWORD)]
    sentence = "This e-mail address and this password do not go together."
    for email, password in [*tries, (owner.email, "wrong")]:
        status, page = sign_in(client, email, password)
        assert status == 200
        assert sentence in page


def test_a_member_who_is_removed_is_out_at_once(owners_browser: Client, owner: User) -> None:
    assert owners_browser.get("/admin/").status_code == 200
    Membership.objects.filter(user=owner).delete()
    assert owners_browser.get("/admin/").status_code == 302


def test_an_api_key_does_not_open_the_admin(key: Key) -> None:
    response = Client(headers={"x-api-key": key.api_key}).get("/admin/")
    assert response.status_code == 302


def test_a_search_for_a_page_that_cannot_be_is_a_404(owners_browser: Client) -> None:
    assert owners_browser.get("/admin/search/?s=a").status_code == 200
    for page in ("x", "99"):
        assert owners_browser.get(f"/admin/search/?s=a&page={page}").status_code == 404


def test_a_member_changes_their_own_password(owners_browser: Client, owner: User) -> None:
    form = {"old_password": PASSWORD, "new_password1": "even-better-horse", "new_password2": "even-better-horse"}
    assert owners_browser.post("/admin/password_change/", form).status_code == 302
    owner.refresh_from_db()
    assert owner.check_password("even-better-horse")
