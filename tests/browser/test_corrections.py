"""Correcting what was recorded: an event is voided, another one's cost is set, a period is priced anew."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from playwright.sync_api import expect

from billing.models import Repricing, UsageEvent
from billing.pricing.conditions import Rates
from billing.pricing.services import create_price
from billing.tasks import reprice_task
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage
from tests.usage import total_cost

pytestmark = pytest.mark.usefixtures("usage")


def open_event(page: PlainPage, event_id: str) -> None:
    page.goto(f"/admin/billing/usageevent/?q={event_id}")
    page.open("#result_list tbody")


def amount(page: PlainPage) -> str:
    return page.document.first(".ct-amount").text


def cost_row(page: PlainPage) -> list[str]:
    """Of the page that asks for a confirmation: before, and after."""
    (row,) = (row for row in page.document.all(".ct-table tbody tr") if row.elements[0].text == "Cost")
    return [cell.text for cell in row.elements]


def test_an_event_is_voided_with_a_reason(owner: User, organization: Organization) -> None:
    page = PlainPage(owner)
    open_event(page, "call-2")
    assert amount(page) == "$0.50"
    page.click("Void", "link")
    assert cost_row(page) == ["Cost", "$0.50", "$0.00"]

    page.click("Void event", "button")
    assert "This field is required." in page.text
    page.fill("Reason", "Sent twice by the batch job")
    page.click("Void event", "button")

    assert "Event voided." in page.text
    assert amount(page) == "$0.00"
    (correction,) = next(table.all("tbody tr") for table in page.document.all(".ct-table") if "Corrected" in table.text)
    for shown in ("Voided", owner.email, "Sent twice by the batch job", "-$0.50"):
        assert shown in correction.text
    assert "Void" not in page.names("link")
    page.goto("/admin/organizations/auditentry/")
    assert "event.voided" in page.document.first("#result_list").text
    assert total_cost(UsageEvent.objects.of(organization).filter(run_id="nightly/part")) == 0


def test_an_unknown_cost_is_set_by_hand(owner: User) -> None:
    page = PlainPage(owner)
    open_event(page, "house-1")
    assert amount(page) == "Not known yet"
    page.click("Adjust cost", "link")
    page.fill("Total cost (US dollars)", "0.75")
    page.fill("Reason", "As on the bill")
    page.click("Continue", "button")
    assert cost_row(page) == ["Cost", "Not known", "$0.75"]
    page.click("Adjust cost", "button")
    assert "Cost adjusted to $0.75." in page.text
    assert amount(page) == "$0.75"


def test_a_viewer_sees_corrections_and_no_buttons(viewer: User) -> None:
    page = PlainPage(viewer)
    open_event(page, "call-2")
    assert amount(page) == "$0.50"
    assert not {"Void", "Adjust cost"} & set(page.names("link"))


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
    expect(page).to_have_title(re.compile("Reprice usage · Repricing"))
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
    page.goto("/admin/billing/usageevent/?q=call-1")
    page.locator("#result_list tbody").get_by_role("link").first.click()
    expect(page.locator(".ct-amount")).to_have_text("$0.00668")
    expect(page.get_by_text("The price was wrong")).to_be_visible()
