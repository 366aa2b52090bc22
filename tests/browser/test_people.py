"""Who may do what: members and their roles, organizations, and the operators' pages of people and plans."""

from playwright.sync_api import Page, expect

from organizations.models import Membership, Organization, Plan, User
from organizations.types import Role
from tests.browser.conftest import Browse

MEMBERS = "/admin/organizations/membership/"


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def open_row(page: Page, text: str) -> None:
    page.locator("#result_list tbody", has_text=text).get_by_role("link").first.click()


def test_an_owner_adds_a_member_changes_the_role_and_removes_them(
    browse: Browse, owner: User, organization: Organization
) -> None:
    page = browse(owner)
    page.goto(f"{MEMBERS}add/")
    page.get_by_label("Email").fill("new@acme.example")
    page.locator("[name=organization]").select_option(str(organization.pk), force=True)
    save(page)
    expect(page.locator("#result_list")).to_contain_text("new@acme.example")
    assert Membership.objects.get(user__email="new@acme.example").role == Role.VIEWER

    open_row(page, "new@acme.example")
    page.locator("[name=role]").select_option("admin", force=True)
    save(page)
    expect(page.locator("#result_list tbody", has_text="new@acme.example")).to_contain_text("Admin")

    open_row(page, "new@acme.example")
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Yes").click()
    expect(page.locator("#result_list")).not_to_contain_text("new@acme.example")
    assert organization.memberships.count() == 1


def test_the_last_owner_stays_and_the_page_says_why(browse: Browse, owner: User, organization: Organization) -> None:
    page = browse(owner)
    page.goto(MEMBERS)
    open_row(page, owner.email)
    page.locator("[name=role]").select_option("viewer", force=True)
    save(page)
    expect(page.get_by_text("An organization needs at least one owner")).to_be_visible()
    assert Membership.objects.get().role == Role.OWNER


def test_what_an_owner_changes_stands_in_the_audit_log(browse: Browse, owner: User, organization: Organization) -> None:
    page = browse(owner)
    page.goto("/admin/organizations/organization/")
    open_row(page, organization.name)
    page.get_by_label("Name").fill("Acme Works")
    save(page)
    expect(page.locator("#result_list")).to_contain_text("Acme Works")
    page.get_by_role("link", name="Audit log").click()
    expect(page.locator("#result_list tbody").first).to_contain_text(owner.email)
    expect(page.locator("#result_list tbody").first).to_contain_text("organization.changed")
    page.locator("#result_list tbody").first.get_by_role("link").first.click()
    expect(page.get_by_role("button", name="Save")).to_have_count(0)


def test_an_operator_adds_an_organization_and_changes_a_plan(browse: Browse, operator: User) -> None:
    page = browse(operator)
    page.goto("/admin/")
    page.get_by_role("link", name="Add organization").click()
    page.get_by_label("Name").fill("Initech Systems")
    save(page)
    expect(page.locator("#result_list")).to_contain_text("initech-systems")

    page.goto("/admin/organizations/plan/")
    open_row(page, "Pay as you go")
    page.get_by_label("Requests per minute").fill("1200")
    save(page)
    expect(page.locator("#result_list")).to_contain_text("1200")
    assert Plan.objects.get(code="pay_as_you_go").requests_per_minute == 1200


def test_an_operator_adds_a_person_who_can_be_made_inactive(browse: Browse, operator: User) -> None:
    page = browse(operator)
    page.goto("/admin/organizations/user/add/")
    page.get_by_label("Email").fill("second@costtrack.example")
    page.get_by_label("Password", exact=True).fill("a-long-new-password-1")
    page.get_by_label("Password confirmation").fill("a-long-new-password-1")
    save(page)
    person = User.objects.get(email="second@costtrack.example")
    assert person.check_password("a-long-new-password-1")
    page.goto(f"/admin/organizations/user/{person.pk}/change/")
    page.get_by_label("Is active").uncheck()
    save(page)
    person.refresh_from_db()
    assert not person.is_active
