"""Prices begin and end; what one says never changes."""

import pytest
from playwright.sync_api import expect

from billing.models import PriceVersion
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage
from tests.usage import set_price

PRICES = "/admin/billing/priceversion/"


@pytest.fixture(autouse=True)
def everyones(db: None) -> PriceVersion:
    return set_price("gpt-5", provider="openai", input="1.25", output="10")


def test_an_organization_sets_a_price_of_its_own_and_ends_it(
    browse: Browse, owner: User, organization: Organization
) -> None:
    page = browse(owner)
    page.goto(PRICES)
    expect(page.locator("#result_list tbody")).to_contain_text("$1.25")
    page.goto(f"{PRICES}add/")
    page.get_by_label("Model").fill("house-13b")
    page.locator("[name=input_usd_per_million]").fill("0.4")
    page.get_by_role("button", name="Save", exact=True).click()
    row = page.locator("#result_list tbody", has_text="house-13b")
    expect(row).to_contain_text("$0.40")
    expect(row).to_contain_text(organization.name)

    row.get_by_role("link").first.click()
    expect(page.get_by_text("$0.40 per million")).to_be_visible()
    expect(page.locator("[name=input_usd_per_million]")).to_have_count(0)
    page.locator("[name=effective_to_0]").fill("2030-01-01")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#result_list tbody", has_text="house-13b")).to_contain_text("Jan 1, 2030")


def test_installation_prices_are_listed(owner: User) -> None:
    page = PlainPage(owner)
    page.goto(PRICES)
    page.open("#result_list tbody")
    assert "$10.00 per million" in page.text
    assert "Save" not in page.names("button")
    assert page.document.all("#main input[name^=effective]") == []


def test_a_price_that_cannot_be_is_refused_beside_the_field(owner: User, organization: Organization) -> None:
    page = PlainPage(owner)
    page.goto(f"{PRICES}add/")
    page.fill("organization", str(organization.pk))
    page.fill("Model", "house-13b")
    page.fill("Input", "-1")
    page.click("Save")
    assert page.document.all(".errors, .errorlist, .text-red-600")
    assert PriceVersion.objects.filter(organization=organization).count() == 0
