"""A credential's life: its secret is seen once, replaced, and ends."""

import pytest
from playwright.sync_api import Page, expect
from rest_framework.test import APIClient

from organizations.models import APICredential, Organization, User
from tests.browser.conftest import Browse

CREDENTIALS = "/admin/organizations/apicredential/"


def api_key(page: Page) -> str:
    """The key on the page that shows it once."""
    expect(page.get_by_text("The secret is shown only on this page")).to_be_visible()
    return page.locator(".ct-secret code").last.inner_text()


def works(key: str) -> bool:
    return APIClient(headers={"x-api-key": key}).get("/costs/runs").status_code == 200


@pytest.fixture
def page(browse: Browse, owner: User) -> Page:
    return browse(owner)


def create(page: Page, organization: Organization) -> str:
    page.goto(f"{CREDENTIALS}add/")
    page.get_by_label("Name").fill("Gateway")
    page.locator("[name=organization]").select_option(str(organization.pk), force=True)
    page.get_by_role("button", name="Save", exact=True).click()
    return api_key(page)


def test_a_new_secret_is_shown_once(page: Page, organization: Organization) -> None:
    key = create(page, organization)
    assert works(key)
    client_id, secret = key.split(".")

    page.reload()
    expect(page.locator("#content")).to_contain_text(client_id)
    assert secret not in page.content()
    assert APICredential.objects.count() == 1  # reloading has not sent the form again

    page.goto(CREDENTIALS)
    expect(page.locator("#result_list")).to_contain_text(client_id)
    assert secret not in page.content()
    page.go_back()
    assert secret not in page.content()


def test_a_rotated_secret_replaces_the_old_one(page: Page, organization: Organization) -> None:
    old = create(page, organization)
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Rotate secret").click()
    page.get_by_role("link", name="Cancel").click()
    assert works(old)

    page.get_by_role("link", name="Rotate secret").click()
    page.locator("[name=grace_seconds]").select_option("0", force=True)
    page.locator("#content").get_by_role("button").click()
    new = api_key(page)
    assert new != old
    assert works(new)
    assert not works(old)


def test_a_revoked_credential_ends(page: Page, organization: Organization) -> None:
    key = create(page, organization)
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Revoke").click()
    expect(page.get_by_text("This permanently revokes the credential with its secrets and tokens.")).to_be_visible()
    assert works(key)
    page.locator("#content").get_by_role("button").click()
    expect(page.get_by_text("was revoked.")).to_be_visible()
    assert not works(key)
    page.goto(CREDENTIALS)
    expect(page.locator("#result_list")).to_contain_text("revoked")


def test_what_is_missing_is_said_beside_the_field(page: Page, organization: Organization) -> None:
    page.goto(f"{CREDENTIALS}add/")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("This field is required.").first).to_be_visible()
    assert not APICredential.objects.exists()
