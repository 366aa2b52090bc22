"""Correcting what was recorded: an event is voided, another one's cost is set, a period is priced anew."""

from datetime import timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import Page, expect

from billing.models import Repricing, UsageEvent
from billing.pricing.conditions import Rates
from billing.pricing.services import create_price
from billing.tasks import reprice_task
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.usage import total_cost

pytestmark = pytest.mark.usefixtures("usage")


def open_event(page: Page, event_id: str) -> None:
    page.goto(f"/admin/billing/usageevent/?q={event_id}")
    page.locator("#result_list tbody").get_by_role("link").first.click()


def test_an_event_is_voided_with_a_reason(browse: Browse, owner: User, organization: Organization) -> None:
    page = browse(owner)
    open_event(page, "call-2")
    expect(page.locator(".ct-amount")).to_have_text("$0.50")
    page.get_by_role("link", name="Void").click()
    row = page.locator(".ct-table tbody tr", has_text="Cost")
    expect(row.locator("th, td")).to_have_text(["Cost", "$0.50", "$0.00"])

    page.get_by_role("button", name="Void event").click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    page.get_by_label("Reason").fill("Sent twice by the batch job")
    page.get_by_role("button", name="Void event").click()

    expect(page.get_by_text("Event voided.")).to_be_visible()
    expect(page.locator(".ct-amount")).to_have_text("$0.00")
    correction = page.locator(".ct-table", has_text="Corrected (UTC)").locator("tbody tr")
    expect(correction).to_have_count(1)
    for shown in ("Voided", owner.email, "Sent twice by the batch job", "-$0.50"):
        expect(correction).to_contain_text(shown)
    expect(page.get_by_role("link", name="Void", exact=True)).to_have_count(0)
    page.goto("/admin/organizations/auditentry/")
    expect(page.locator("#result_list")).to_contain_text("event.voided")
    assert total_cost(UsageEvent.objects.of(organization).filter(run_id="nightly/part")) == 0


def test_an_unknown_cost_is_set_by_hand(browse: Browse, owner: User) -> None:
    page = browse(owner)
    open_event(page, "house-1")
    expect(page.locator(".ct-amount")).to_have_text("Not known yet")
    page.get_by_role("link", name="Adjust cost").click()
    page.get_by_label("Total cost (US dollars)").fill("0.75")
    page.get_by_label("Reason").fill("As on the bill")
    page.get_by_role("button", name="Continue").click()
    row = page.locator(".ct-table tbody tr", has_text="Cost")
    expect(row.locator("th, td")).to_have_text(["Cost", "Not known", "$0.75"])
    page.get_by_role("button", name="Adjust cost").click()
    expect(page.get_by_text("Cost adjusted to $0.75.")).to_be_visible()
    expect(page.locator(".ct-amount")).to_have_text("$0.75")


def test_a_viewer_sees_corrections_and_no_buttons(browse: Browse, viewer: User) -> None:
    page = browse(viewer)
    open_event(page, "call-2")
    expect(page.locator(".ct-amount")).to_have_text("$0.50")
    for name in ("Void", "Adjust cost"):
        expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)


def test_a_period_is_repriced_from_a_price(browse: Browse, owner: User, organization: Organization) -> None:
    create_price(
        organization=organization,
        model="gpt-5",
        rates=Rates({"input": Decimal(5), "output": Decimal(20)}),
        effective_from=utc_now() - timedelta(days=2),
        actor="tests",
    )
    page = browse(owner)
    page.goto("/admin/billing/priceversion/")
    page.get_by_role("link", name="Reprice usage").click()
    expect(page).to_have_title("Reprice usage | costtrack")
    page.get_by_label("Model").fill("gpt-5")
    tomorrow = utc_now() + timedelta(days=1)
    page.locator("[name=end_0]").fill(f"{tomorrow:%Y-%m-%d}")
    page.get_by_role("button", name="Preview changes").click()

    expect(page.locator(".ct-table tbody tr")).to_have_count(1)
    expect(page.locator(".ct-amount")).to_have_text("+$0.00484")
    page.get_by_role("link", name="Apply").click()
    page.get_by_label("Reason").fill("The price was wrong")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Queued")).to_be_visible()

    reprice_task(Repricing.objects.get(dry_run=False).pk)

    expect(page.get_by_text("Done")).to_be_visible()  # the page looks again by itself
    open_event(page, "call-1")
    expect(page.locator(".ct-amount")).to_have_text("$0.00668")
    expect(page.get_by_text("The price was wrong")).to_be_visible()
