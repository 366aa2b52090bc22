"""Authenticator apps and recovery codes, and organizations that ask for a second factor."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.core.cache import cache
from django.core.mail import EmailMultiAlternatives
from django.test import Client, override_settings
from rest_framework.test import APIClient

from organizations.models import AuditEntry, Organization, User
from tests.conftest import Key
from tests.organizations.accounts.conftest import INSIDE, sign_in

SECOND = "/account/login/second-factor"
SECURITY = "/account/security"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def code_of(secret: str) -> str:
    """What an authenticator app shows now."""
    _, now, _ = yield_hotp_counters_from_time()
    return format_hotp_value(hotp_value(secret, now))


def with_app(user: User) -> User:
    TOTP.activate(user, SECRET)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


# --- An app ----------------------------------------------------------------------------------------------------


def test_an_app_is_set_up_with_its_code(client: Client, owner: User, mailoutbox: list[EmailMultiAlternatives]) -> None:
    sign_in(client, owner.email)
    page = client.get(f"{SECURITY}/app")
    secret = page.context["form"].secret
    assert secret in page.content.decode()
    assert client.post(f"{SECURITY}/app", {"code": "000000"}).context["form"].errors
    assert client.post(f"{SECURITY}/app", {"code": code_of(secret)})["Location"] == f"{SECURITY}/recovery-codes"
    assert len(client.get(f"{SECURITY}/recovery-codes").context["unused_codes"]) == 10
    assert [mail.subject for mail in mailoutbox] == ["Authenticator app added: costtrack"]
    assert secret not in str(Authenticator.objects.get(type="totp").data), "the table keeps it encrypted"


def test_signing_in_asks_for_the_code_once_there_is_an_app(client: Client, owner: User) -> None:
    with_app(owner)
    assert sign_in(client, owner.email, next="/o/acme/admin/")["Location"] == SECOND
    assert client.get("/admin/").status_code == 302, "the password alone is not enough"
    assert client.post(SECOND, {"code": "123"}).status_code == 200
    assert client.post(SECOND, {"code": code_of(SECRET)})["Location"] == "/o/acme/admin/"
    assert client.get(INSIDE).status_code == 200


def test_a_code_works_once(client: Client, owner: User) -> None:
    with_app(owner)
    code = code_of(SECRET)
    sign_in(client, owner.email)
    assert client.post(SECOND, {"code": code}).status_code == 302
    other = Client()
    sign_in(other, owner.email)
    assert other.post(SECOND, {"code": code}).status_code == 200


def test_a_recovery_code_works_once_instead(owner: User) -> None:
    with_app(owner)
    code = RecoveryCodes.activate(owner).get_unused_codes()[0]
    statuses = []
    for client in (Client(), Client()):
        sign_in(client, owner.email)
        statuses.append(client.post(SECOND, {"code": code}).status_code)
    assert statuses == [302, 200]


def test_guessing_codes_ends_after_some_tries(client: Client, owner: User) -> None:
    with_app(owner)
    sign_in(client, owner.email)
    for _ in range(5):
        client.post(SECOND, {"code": "000000"})
    page = client.post(SECOND, {"code": code_of(SECRET)})
    assert "Too many attempts" in page.content.decode()


def test_codes_with_another_secret_key_are_wrong_and_no_error(client: Client, owner: User) -> None:
    with_app(owner)
    with override_settings(SECRET_KEY="another-" + "x" * 50):
        sign_in(client, owner.email)
        assert client.post(SECOND, {"code": code_of(SECRET)}).status_code == 200


def test_a_new_password_does_not_get_around_the_second_factor(client: Client, owner: User) -> None:
    from organizations.accounts.password_links import password_link

    with_app(owner)
    page = client.get(password_link(owner).removeprefix("http://localhost:8000"), follow=True)
    password = {"password1": "even-better-horse", "password2": "even-better-horse"}
    assert client.post(page.redirect_chain[-1][0], password)["Location"] == SECOND
    assert client.get("/admin/").status_code == 302


def test_settings_are_changed_only_after_a_fresh_sign_in(owner: User) -> None:
    client = signed_in(owner)  # a session that has not seen a password lately
    page = client.get(f"{SECURITY}/app")
    assert page["Location"] == f"/account/confirm?next={SECURITY.replace('/', '%2F')}%2Fapp"
    assert client.post(page["Location"], {"password": "wrong"}).status_code == 200
    assert client.post(page["Location"], {"password": "correct-horse-battery"})["Location"] == f"{SECURITY}/app"
    assert client.get(f"{SECURITY}/app").status_code == 200


def test_an_app_is_removed_again(client: Client, owner: User) -> None:
    with_app(owner)
    sign_in(client, owner.email)
    client.post(SECOND, {"code": code_of(SECRET)})
    assert client.get(f"{SECURITY}/app/remove").status_code == 200
    assert client.post(f"{SECURITY}/app/remove").status_code == 302
    assert not Authenticator.objects.exists()


@pytest.mark.parametrize("path", ["", "/app", "/app/remove", "/recovery-codes", "/passkeys", "/passkeys/add"])
def test_pages_of_an_account_need_a_sign_in(client: Client, db: None, path: str) -> None:
    answer = client.get(SECURITY + path)
    assert answer.status_code in (302, 403)
    if answer.status_code == 302:
        assert answer["Location"].startswith("/account/login?next=")


# --- Organizations that ask for one ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/admin/", "/o/acme/admin/", "/o/acme/admin/billing/usageevent/"])
def test_a_member_without_one_is_led_to_set_one_up(owner: User, strict: Organization, path: str) -> None:
    client = signed_in(owner)
    page = client.get(path, follow=True)
    assert page.redirect_chain[-1] == (SECURITY, 302)
    assert "Your organization requires a second factor" in page.content.decode()
    assert client.post("/o/acme/admin/organizations/membership/add/", {}).status_code == 302
    assert client.post("/admin/logout/")["Location"] == "/account/login"


def test_a_member_with_one_works_as_ever(owner: User, strict: Organization) -> None:
    client = signed_in(with_app(owner))
    assert client.get(INSIDE).status_code == 200
    assert "Your organization requires" not in client.get(SECURITY).content.decode()


def test_recovery_codes_alone_are_no_second_factor(owner: User, strict: Organization) -> None:
    RecoveryCodes.activate(owner)
    assert signed_in(owner).get("/admin/").status_code == 302


def test_operators_need_a_second_factor_by_a_setting(operator: User, strict: Organization, settings: Any) -> None:
    assert signed_in(operator).get("/admin/").status_code == 200
    settings.OPERATORS_NEED_SECOND_FACTOR = True
    assert signed_in(operator).get("/admin/")["Location"] == SECURITY


def test_members_of_other_organizations_need_none(stranger: User, strict: Organization) -> None:
    assert signed_in(stranger).get("/o/globex/admin/organizations/membership/").status_code == 200


def test_the_api_does_not_let_a_session_around_it(owner: User, strict: Organization, key: Key) -> None:
    browser = APIClient()
    browser.force_login(owner)
    answer = browser.get("/organizations/acme")
    assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required")
    assert key.client().get("/organizations/acme").status_code == 200, "keys have no second factor"
    with_app(owner)
    assert browser.get("/organizations/acme").json()["requires_second_factor"] is True


def test_owners_ask_for_it_in_the_admin(owner: User, organization: Organization) -> None:
    client = signed_in(owner)
    page = f"/o/acme/admin/organizations/organization/{organization.pk}/change/"
    form = {"name": "Acme Research", "time_zone": "UTC", "week_start": "1", "requires_second_factor": "on"}
    assert client.post(page, form).status_code == 302
    organization.refresh_from_db()
    assert organization.requires_second_factor
    assert AuditEntry.objects.get(action="organization.changed").details == {"requires_second_factor": True}
    assert client.get(page)["Location"] == SECURITY


def test_only_owners_change_it(
    organization: Organization, viewer: User, owner: User, api: APIClient, operator_api: APIClient
) -> None:
    viewer.memberships.update(role="admin")
    form: dict[str, Any] = {"name": "Acme", "time_zone": "UTC", "week_start": "1", "requires_second_factor": "on"}
    page = f"/o/acme/admin/organizations/organization/{organization.pk}/change/"
    assert signed_in(viewer).post(page, form).status_code == 302
    organization.refresh_from_db()
    assert (organization.name, organization.requires_second_factor) == ("Acme", False)
    browser = APIClient()
    browser.force_login(viewer)
    answer = browser.patch("/organizations/acme", {"requires_second_factor": True, "name": "No"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (403, "owners_only")
    assert operator_api.patch("/organizations/acme", {"requires_second_factor": True}).status_code == 200
    organization.refresh_from_db()
    assert (organization.name, organization.requires_second_factor) == ("Acme", True)


# --- Lost ------------------------------------------------------------------------------------------------------


def test_operators_remove_lost_factors(operator: User, owner: User) -> None:
    with_app(owner)
    RecoveryCodes.activate(owner)
    client = signed_in(operator)
    page = client.get(f"/admin/organizations/user/{owner.pk}/change/").content.decode()
    assert "Remove second factors" in page
    path = f"/admin/organizations/user/{owner.pk}/remove_second_factors/"
    assert client.get(path).status_code == 200
    assert Authenticator.objects.exists()
    assert client.post(path).status_code == 302
    assert not Authenticator.objects.exists()
    assert AuditEntry.objects.get(action="user.second_factors_removed").subject == owner.email


def test_owners_do_not_remove_them(owner: User, viewer: User) -> None:
    with_app(viewer)
    client = signed_in(owner)
    assert client.post(f"/admin/organizations/user/{viewer.pk}/remove_second_factors/").status_code in (302, 403, 404)
    assert Authenticator.objects.exists()


@pytest.fixture(autouse=True)
def _no_codes_used() -> None:
    cache.clear()
