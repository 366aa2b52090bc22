"""A credential's life: its secret is seen once, replaced, and ends."""

import pytest
from playwright.sync_api import expect
from rest_framework.test import APIClient

from organizations.models import APICredential, Organization, User
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage

CREDENTIALS = "/admin/organizations/apicredential/"


def api_key(page: PlainPage) -> str:
    """The key on the page that shows it once."""
    assert "The secret is shown only on this page" in page.text
    return page.document.all(".ct-secret code")[-1].text


def works(key: str) -> bool:
    return APIClient(headers={"x-api-key": key}).get("/costs/runs").status_code == 200


@pytest.fixture
def page(owner: User) -> PlainPage:
    return PlainPage(owner)


def create(page: PlainPage, organization: Organization) -> str:
    page.goto(f"{CREDENTIALS}add/")
    page.fill("Name", "Gateway")
    page.fill("organization", str(organization.pk))
    page.click("Save", "button")
    return api_key(page)


def test_a_new_secret_is_shown_once(browse: Browse, owner: User, organization: Organization) -> None:
    page = browse(owner)
    page.goto(f"{CREDENTIALS}add/")
    page.get_by_label("Name").fill("Gateway")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("The secret is shown only on this page")).to_be_visible()
    key = page.locator(".ct-secret code").last.inner_text()
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


def test_the_secret_page_has_a_command_that_sends_the_first_event(page: PlainPage, organization: Organization) -> None:
    key = create(page, organization)
    command = page.document.first("#secret-command").text
    assert f"Authorization: Bearer {key}" in command
    assert "/usage/events" in command
    copied = [page.document.first(button["data-copy"]).text for button in page.document.all("[data-copy]")]
    assert key in copied
    assert command in copied
    page.click("Continue with Getting started", "link")
    assert page.heading == "Getting started"


def test_a_rotated_secret_replaces_the_old_one(page: PlainPage, organization: Organization) -> None:
    old = create(page, organization)
    page.click("Done", "link")
    page.click("Rotate secret", "link")
    page.click("Cancel", "link")
    assert works(old)

    page.click("Rotate secret", "link")
    page.fill("grace_seconds", "0")
    page.send(page.document.first("form.ct-confirm"))
    new = api_key(page)
    assert new != old
    assert works(new)
    assert not works(old)


def test_a_revoked_credential_ends(page: PlainPage, organization: Organization) -> None:
    key = create(page, organization)
    page.click("Done", "link")
    page.click("Revoke", "link")
    assert "This permanently revokes the credential with its secrets and tokens." in page.text
    assert works(key)
    page.send(page.document.first("form.ct-confirm"))
    assert "was revoked." in page.text
    assert not works(key)
    page.goto(CREDENTIALS)
    assert "revoked" in page.document.first("#result_list").text.casefold()


def test_what_is_missing_is_said_beside_the_field(page: PlainPage, organization: Organization) -> None:
    page.goto(f"{CREDENTIALS}add/")
    page.click("Save", "button")
    assert "This field is required." in page.text
    assert not APICredential.objects.exists()
