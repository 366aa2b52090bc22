"""Reading the ledger: from the overview to why one call costs what it costs."""

import re

import pytest
from playwright.sync_api import Page, expect

from organizations.models import Organization, User
from tests.browser.conftest import Browse

pytestmark = pytest.mark.usefixtures("usage")

ROWS = "#result_list tbody"


def test_from_the_usage_to_the_reasons_of_a_cost(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto("/admin/")
    expect(page.locator(".ct-figure", has_text="Last 7 days").locator("strong").first).to_have_text("$0.504")
    page.locator("#nav-sidebar-apps").get_by_role("link", name="All events").click()

    expect(page.locator(ROWS)).to_have_count(5)
    expect(page.get_by_text("unpriced: no price")).to_be_visible()
    page.locator("#searchbar").fill("call-1")
    page.keyboard.press("Enter")
    expect(page.locator(ROWS)).to_have_count(1)
    page.locator(ROWS).get_by_role("link").first.click()

    expect(page).to_have_title("call-1 | View usage event | costtrack")
    expect(page.get_by_text("Computed from the price that held when the call was made.")).to_be_visible()
    line = page.locator(".ct-table tbody tr").first
    assert line.locator("th, td").all_inner_texts() == ["Input", "1,200", "$1.25 per million", "$0.0015"]
    expect(page.locator(".ct-table tfoot .ct-number").first).to_have_text("$0.00184")

    page.get_by_role("link", name="openai/gpt-5").click()
    expect(page).to_have_title(re.compile("openai/gpt-5"))
    page.go_back()
    page.locator(".ct-facts a").last.click()
    expect(page).to_have_title(re.compile("View batch"))
    page.get_by_role("link", name="Its events").click()
    expect(page.locator(ROWS)).to_have_count(5)


def filter_by(page: Page, **choices: str) -> None:
    """Open the filters, choose, apply."""
    page.locator("#changelist button[aria-controls=changelist-filter]").click()
    for name, value in choices.items():
        field = page.locator(f"#changelist-filter [name={name}]")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value, force=True)
        else:
            field.fill(value)
    page.get_by_role("button", name="Apply Filters").click()


def test_filters_narrow_the_ledger_and_can_be_taken_back(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto("/admin/billing/usageevent/")
    filter_by(page, kind="tool_call")
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(ROWS)).to_contain_text("search")

    page.goto("/admin/billing/usageevent/")
    filter_by(page, status="failure", model="GPT")
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(ROWS)).to_contain_text("failed")

    page.goto("/admin/billing/usageevent/")
    filter_by(page, when_to="2020-01-01")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    expect(page.locator(ROWS)).to_have_count(5)


def test_an_operator_chooses_the_organization(
    browse: Browse, operator: User, organization: Organization, other_organization: Organization
) -> None:
    page = browse(operator)
    page.goto("/admin/billing/usageevent/")
    expect(page.locator(".ct-bar")).to_contain_text(organization.name)
    page.locator("#changelist button[aria-controls=changelist-filter]").click()
    page.locator("#changelist-filter .select2-selection").first.click()
    page.locator(".select2-results__option", has_text=other_organization.name).click()
    page.get_by_role("button", name="Apply Filters").click()
    expect(page.locator(".ct-bar")).to_contain_text(other_organization.name)
    expect(page.locator(ROWS)).to_contain_text("globex-model")


def test_a_runs_cost_is_shown_with_the_runs_below_it(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto("/admin/billing/usageevent/")
    page.get_by_role("link", name="nightly", exact=True).click()
    expect(page.locator(ROWS)).to_have_count(1)
    page.goto("/admin/billing/run/")
    page.get_by_role("row").filter(has_text="report").get_by_role("link", name="nightly", exact=True).first.click()
    expect(page.locator(".ct-card", has_text="Cost of the run alone").locator(".ct-amount")).to_have_text("$0.00184")
    expect(page.locator(".ct-card", has_text="with all runs below").locator(".ct-amount")).to_have_text("$0.502")
