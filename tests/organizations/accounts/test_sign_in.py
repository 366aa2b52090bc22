"""Signing in and out by email address and password."""

from collections.abc import Callable

import pytest
from django.test import Client

from organizations.accounts.adapter import NO_ACCESS, WRONG_PASSWORD
from organizations.models import Membership, User
from tests.conftest import Key
from tests.organizations.accounts.conftest import BETTER, INSIDE, LOGIN, PASSWORD, sign_in


@pytest.mark.parametrize("email", ["owner@acme.example", "OWNER@acme.example", "viewer@acme.example"])
def test_members_sign_in_by_e_mail_address(client: Client, owner: User, viewer: User, email: str) -> None:
    assert sign_in(client, email)["Location"] == "/admin/"
    assert client.session["_auth_user_id"]


def test_an_address_that_was_written_with_capitals_signs_in_too(client: Client, owner: User) -> None:
    User.objects.filter(pk=owner.pk).update(email="Owner.Of@acme.example")
    assert sign_in(client, "owner.of@ACME.example").status_code == 302


def test_operators_sign_in_without_a_membership(client: Client, operator: User) -> None:
    assert sign_in(client, operator.email).status_code == 302


def test_a_wrong_password_does_not_reveal_which_addresses_are_known(client: Client, owner: User) -> None:
    User.objects.create_user("lonely@example.com", PASSWORD)
    User.objects.create_user("former@acme.example", PASSWORD, is_active=False)
    tries = [("lonely@example.com", "wrong"), ("former@acme.example", PASSWORD), ("unknown@x.example", PASSWORD)]
    for email, password in [*tries, (owner.email, "wrong")]:
        page = sign_in(client, email, password)
        assert page.status_code == 200
        assert WRONG_PASSWORD in page.content.decode()


def test_a_user_without_an_organization_learns_why_after_the_correct_password(client: Client, owner: User) -> None:
    Membership.objects.filter(user=owner).delete()
    refused = sign_in(client, owner.email)
    assert refused["Location"] == LOGIN
    page = client.get(LOGIN).content.decode()
    assert NO_ACCESS in page
    assert WRONG_PASSWORD not in page
    assert "_auth_user_id" not in client.session


@pytest.mark.parametrize("email", ["a\x00@acme.example", "nobody", "", "x" * 400 + "@acme.example"])
def test_an_invalid_address_is_reported_next_to_its_field(client: Client, db: None, email: str) -> None:
    page = sign_in(client, email)
    assert page.status_code == 200
    assert page.context["form"].errors


@pytest.mark.parametrize("path", ["/admin/billing/usageevent/?q=1", "/o/acme/admin/organizations/membership/"])
def test_the_requested_page_follows_sign_in(client: Client, owner: User, path: str) -> None:
    page = client.get(path, follow=True)
    assert page.redirect_chain[-1][0].startswith("/account/login?next=")
    next_url = page.context["redirect_field_value"]
    assert sign_in(client, owner.email, next=next_url)["Location"] == path


@pytest.mark.parametrize("next_url", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_no_other_site_comes_after_signing_in(client: Client, owner: User, next_url: str) -> None:
    page = client.get("/admin/login/", {"next": next_url}, follow=True)
    assert page.status_code == 200
    assert sign_in(client, owner.email, next=next_url)["Location"] == "/admin/"


def test_a_member_who_is_removed_is_out_at_once(browser_of: Callable[[User], Client], owner: User) -> None:
    browser = browser_of(owner)
    Membership.objects.filter(user=owner).delete()
    page = browser.get("/admin/", follow=True)
    assert page.redirect_chain[-1][0].startswith(LOGIN)
    assert page.status_code == 200


@pytest.mark.parametrize("prefix", ["", "/o/acme"])
def test_signing_out_ends_the_session(browser_of: Callable[[User], Client], owner: User, prefix: str) -> None:
    browser = browser_of(owner)
    assert browser.get(f"{prefix}/admin/logout/").status_code == 405
    assert browser.post(f"{prefix}/admin/logout/")["Location"] == LOGIN
    assert browser.get("/admin/").status_code == 302


def test_signed_in_users_skip_the_sign_in_page(browser_of: Callable[[User], Client], owner: User) -> None:
    browser = browser_of(owner)
    assert browser.get("/admin/login/")["Location"] == "/admin/"
    assert browser.get(LOGIN)["Location"] == "/admin/"


def test_there_is_no_sign_up(client: Client, db: None) -> None:
    for path in ("/account/signup", "/account/signup/", "/accounts/signup/"):
        assert client.get(path).status_code == 404


def test_an_api_key_does_not_open_the_admin(key: Key) -> None:
    assert Client(headers={"x-api-key": key.api_key}).get("/admin/").status_code == 302


def test_a_member_changes_their_own_password(
    browser_of: Callable[[User], Client], owner: User, mailoutbox: list[object]
) -> None:
    browser = browser_of(owner)
    page = browser.get("/o/acme/admin/password_change/", follow=True)
    assert page.redirect_chain[-1][0] == "/account/password"
    wrong = {"oldpassword": "no", "password1": BETTER, "password2": BETTER}
    assert browser.post("/account/password", wrong).status_code == 200
    assert browser.post("/account/password", {**wrong, "oldpassword": PASSWORD}).status_code == 302
    owner.refresh_from_db()
    assert owner.check_password(BETTER)
    assert browser.get(INSIDE).status_code == 200, "the session in which it was changed goes on"
    assert [getattr(mail, "subject", "") for mail in mailoutbox] == ["Your password was changed: costtrack"]


def test_the_pages_say_nothing_of_single_sign_on_without_a_provider(client: Client, db: None) -> None:
    assert "/account/sso/" not in client.get(LOGIN).content.decode()
    assert client.get("/account/sso/oidc/login").status_code == 404
