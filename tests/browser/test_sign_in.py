"""Coming in and going out."""

from playwright.sync_api import Page, expect

from organizations.models import Organization, User
from tests.browser.conftest import Browse


def sign_in(page: Page, email: str, password: str) -> None:
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_the_right_password_leads_to_the_page_that_was_asked_for(browse: Browse, owner: User) -> None:
    page = browse()
    page.goto("/admin/billing/usageevent/")
    expect(page).to_have_title("Log in | costtrack")
    sign_in(page, "Owner@acme.example", "correct-horse-battery")
    expect(page).to_have_title("Usage events | costtrack")


def test_signing_in_leads_to_the_overview_and_signing_out_ends_it(
    browse: Browse, owner: User, organization: Organization
) -> None:
    page = browse()
    page.goto("/admin/login/")
    sign_in(page, owner.email, "correct-horse-battery")
    expect(page).to_have_title("Overview | costtrack")
    expect(page.get_by_role("heading", name=organization.name)).to_be_visible()

    page.get_by_text(owner.email).first.click()
    page.get_by_role("button", name="Log out").click()
    page.goto("/admin/")
    expect(page.get_by_label("Password")).to_be_visible()


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(browse: Browse, owner: User) -> None:
    page = browse()
    answers = []
    for email in (owner.email, "nobody@acme.example"):
        page.goto("/admin/login/")
        sign_in(page, email, "wrong")
        expect(page.get_by_text("do not go together")).to_be_visible()
        answers.append(page.locator("#page").inner_text())
    assert answers[0] == answers[1]
