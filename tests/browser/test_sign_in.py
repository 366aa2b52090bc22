"""Coming in and going out."""

import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from playwright.sync_api import Page, expect

from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.organizations.accounts.test_second_factors import code_of

PASSWORD = "correct-horse-battery"
PHONE = {"width": 390, "height": 844}


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def with_passkeys(page: Page) -> Page:
    """A key that is plugged in, or a phone's: it always agrees."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    return page


def test_the_right_password_leads_to_the_requested_page(browse: Browse, owner: User) -> None:
    page = browse()
    page.goto("/admin/billing/usageevent/")
    expect(page).to_have_title("Sign in | costtrack")
    sign_in(page, "Owner@acme.example")
    expect(page).to_have_title(re.compile("All events"))


def test_signing_out_ends_it(browse: Browse, owner: User, organization: Organization) -> None:
    page = browse()
    page.goto("/admin/login/")
    sign_in(page, owner.email)
    expect(page).to_have_url(re.compile("/admin/"))
    page.get_by_text(owner.email).first.click()
    expect(page.get_by_role("link", name="Sign-in and security")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.goto("/admin/")
    expect(page.get_by_label("Password")).to_be_visible()


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(browse: Browse, owner: User) -> None:
    page = browse()
    answers = []
    for email in (owner.email, "nobody@acme.example"):
        page.goto("/admin/login/")
        sign_in(page, email, "wrong")
        expect(page.get_by_text("Incorrect email or password")).to_be_visible()
        answers.append(page.locator("#page").inner_text())
    assert answers[0] == answers[1]


def test_who_needs_a_second_factor_sets_up_an_app_and_is_in(
    browse: Browse, owner: User, organization: Organization
) -> None:
    organization.requires_second_factor = True
    organization.save()
    page = browse()
    page.goto("/o/acme/admin/organizations/membership/")
    sign_in(page, owner.email)
    expect(page.get_by_role("heading", name="Sign-in and security")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("requires a second factor")
    page.get_by_role("link", name="Set up").click()
    page.get_by_label("Code").fill(code_of(page.locator("#totp-key").inner_text()))
    page.get_by_role("button", name="Turn on").click()
    expect(page.get_by_role("list", name="Remaining codes").get_by_role("listitem")).to_have_count(10)
    page.get_by_role("link", name="Go to the overview").click()
    expect(page).to_have_url(re.compile("/admin/"))


def test_a_passkey_is_added_and_lets_in_without_a_password(
    browse: Browse, owner: User, organization: Organization, live_server: Any
) -> None:
    page = with_passkeys(browse(base_url=live_server.url.replace("127.0.0.1", "localhost")))
    page.goto("/account/security")
    sign_in(page, owner.email)
    page.get_by_role("link", name="Add passkey").click()
    page.get_by_label("Name").fill("My laptop")
    expect(page.get_by_label("Use as only factor")).to_be_checked()
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.goto("/account/security/passkeys")
    expect(page.get_by_role("heading", name="My laptop")).to_be_visible()

    page.goto("/account/logout")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page).to_have_url(re.compile("/admin/"))
    assert Authenticator.objects.get(type="webauthn").last_used_at is not None


def test_a_passkey_is_the_second_factor_too_and_can_be_removed(
    browse: Browse, owner: User, organization: Organization, live_server: Any
) -> None:
    page = with_passkeys(browse(base_url=live_server.url.replace("127.0.0.1", "localhost")))
    page.goto("/account/security/passkeys/add")
    sign_in(page, owner.email)
    page.get_by_label("Use as only factor").uncheck()
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()

    page.goto("/account/logout")
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, owner.email)
    expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_url(re.compile("/admin/"))

    page.goto("/account/security/passkeys")
    page.get_by_role("link", name="Remove").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("No passkeys yet.")).to_be_visible()
    assert not Authenticator.objects.exists()


def test_without_a_passkey_the_page_says_so(browse: Browse, owner: User, live_server: Any) -> None:
    page = browse(base_url=live_server.url.replace("127.0.0.1", "localhost"))
    page.goto("/account/login")
    cancelled = "() => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    page.evaluate(f"() => {{ navigator.credentials.get = {cancelled} }}")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("No passkey was used")


def test_public_pages_fit_a_phone(browse: Browse, db: None) -> None:
    page = browse(viewport=PHONE)
    for path in ("/account/login", "/account/password/reset"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


def test_pages_of_an_account_fit_a_phone(browse: Browse, owner: User, recently: None) -> None:
    page = browse(owner, viewport=PHONE)
    for path in ("", "/app", "/passkeys", "/passkeys/add"):
        page.goto(f"/account/security{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


@pytest.fixture
def recently(settings: Any) -> None:
    """Nobody is asked again who they are."""
    settings.MFA_REAUTHENTICATION_REQUIRED = False
