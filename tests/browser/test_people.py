"""Who may do what: members and their roles, organizations, and the operators' pages of people and plans."""

from playwright.sync_api import expect

from organizations.models import Membership, Organization, Plan, User
from organizations.types import Role
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage
from tests.browser.walks import row_of

MEMBERS = "/admin/organizations/membership/"


def open_row(page: PlainPage, text: str) -> None:
    page.goto(row_of(page, text).first("a[href]")["href"])


def listed_text(page: PlainPage) -> str:
    return page.document.first("#result_list").text


def test_an_owner_adds_a_member_changes_the_role_and_removes_them(owner: User, organization: Organization) -> None:
    page = PlainPage(owner)
    page.goto(f"{MEMBERS}add/")
    page.fill("Email", "new@acme.example")
    page.fill("organization", str(organization.pk))
    page.click("Save")
    assert "new@acme.example" in listed_text(page)
    assert Membership.objects.get(user__email="new@acme.example").role == Role.VIEWER

    open_row(page, "new@acme.example")
    page.fill("role", "admin")
    page.click("Save")
    assert "Admin" in row_of(page, "new@acme.example").text

    open_row(page, "new@acme.example")
    page.click("Delete member", "link")
    page.send(page.document.first("#main form[method=post], #content form[method=post]"))
    assert "new@acme.example" not in listed_text(page)
    assert organization.memberships.count() == 1


def test_the_last_owner_stays_and_the_page_says_why(browse: Browse, owner: User, organization: Organization) -> None:
    page = browse(owner)
    page.goto(MEMBERS)
    page.locator("#result_list tbody", has_text=owner.email).get_by_role("link").first.click()
    page.locator("[name=role]").select_option("viewer", force=True)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("An organization needs at least one owner")).to_be_visible()
    assert Membership.objects.get().role == Role.OWNER


def test_what_an_owner_changes_stands_in_the_audit_log(owner: User, organization: Organization) -> None:
    page = PlainPage(owner)
    page.goto("/admin/organizations/organization/")
    open_row(page, organization.name)
    page.fill("Name", "Acme Works")
    page.click("Save")
    assert "Acme Works" in listed_text(page)
    page.click("Audit log", "link")
    newest = page.document.first("#result_list tbody")
    assert owner.email in newest.text
    assert "organization.changed" in newest.text
    page.open("#result_list tbody")
    assert "Save" not in page.names("button")


def test_an_operator_adds_an_organization_and_changes_a_plan(operator: User) -> None:
    page = PlainPage(operator)
    page.goto("/admin/")
    page.click("Add organization", "link")
    page.fill("Name", "Initech Systems")
    page.click("Save")
    assert "Initech Systems was created. Invite its owner." in page.text
    assert "/o/initech-systems/admin/organizations/membership/add/" in page.url

    page.goto("/admin/organizations/plan/")
    open_row(page, "Pay as you go")
    page.fill("Requests per minute", "1200")
    page.click("Save")
    assert "1200" in listed_text(page)
    assert Plan.objects.get(code="pay_as_you_go").requests_per_minute == 1200


def test_an_operator_adds_a_person_who_can_be_made_inactive(operator: User) -> None:
    page = PlainPage(operator)
    page.goto("/admin/organizations/user/add/")
    page.fill("Email", "second@costtrack.example")
    page.fill("Password", "a-long-new-password-1")
    page.fill("Password confirmation", "a-long-new-password-1")
    page.click("Save")
    person = User.objects.get(email="second@costtrack.example")
    assert person.check_password("a-long-new-password-1")
    page.goto(f"/admin/organizations/user/{person.pk}/change/")
    page.fill("Active", "")
    page.click("Save")
    person.refresh_from_db()
    assert not person.is_active
