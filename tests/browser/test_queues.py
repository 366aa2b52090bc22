"""What waits for somebody: unreadable records are tried again, unpriced events get a price."""

import json
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from billing.models import QuarantinedRecord, UnpricedEvent, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage
from tests.browser.walks import row_of

pytestmark = pytest.mark.usefixtures("usage")

QUARANTINE = "/admin/billing/quarantinedrecord/"


def make_the_early_record_good() -> None:
    """As when time has gone on: its sender's clock was ahead."""
    record = QuarantinedRecord.objects.get(record_id="early-1")
    fields = {**json.loads(record.raw), "startTime": (utc_now() - timedelta(hours=1)).timestamp()}
    QuarantinedRecord.objects.filter(pk=record.pk).update(raw=json.dumps(fields))


def test_records_are_tried_again_together(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto("/admin/")
    page.get_by_role("link", name="2 records are in quarantine").click()
    page.wait_for_load_state()
    make_the_early_record_good()
    for box in page.locator("input.action-select").all():
        box.check()
    page.locator("[name=action]").select_option("try_again")
    page.locator("#changelist-actions-wrapper").get_by_role("button", name="Run").click()
    expect(page.get_by_text("1 record was added to the ledger.")).to_be_visible()
    expect(page.get_by_text("1 record remains:")).to_be_visible()
    expect(page.locator("#result_list tbody")).to_have_count(1)
    assert UsageEvent.objects.filter(event_id="early-1").count() == 1


def test_one_record_is_looked_at_and_tried_again(owner: User) -> None:
    make_the_early_record_good()
    page = PlainPage(owner)
    page.goto(QUARANTINE)
    page.goto(row_of(page, "early-1").first("a[href]")["href"])
    assert '"early-1"' in page.document.first(".ct-code").text
    page.click("Retry", "link")
    page.click("Retry", "button")
    assert "The record was added to the ledger." in page.text
    assert "resolved" in page.document.first(".ct-details").text.casefold()


def test_an_unpriced_model_is_given_a_price_and_its_events_a_cost(owner: User, organization: Organization) -> None:
    page = PlainPage(owner)
    page.goto("/admin/")
    page.click("1 event has no price yet", "link")
    assert "house-13b" in page.document.first(".ct-table").text
    page.click("Reprice now", "button")
    assert "No events could be priced" in page.text

    page.click("Add price", "link")
    assert page.field("Model")["value"] == "house-13b"
    assert page.field("Provider")["value"] == "in-house"
    page.fill("Input", "2")
    page.click("Save", "button")
    assert "1 call without a price will be priced in a few seconds." in page.text
    assert "house-13b" in page.document.first("#result_list").text

    page.goto("/admin/billing/unpricedevent/")
    page.click("Reprice now", "button")
    assert "1 event was priced." in page.text
    assert "Every event has a price" in page.headings()
    assert not UnpricedEvent.objects.of(organization).exists()

    page.goto("/admin/billing/usageevent/?q=house-1")
    assert "priced later" in page.document.first("#result_list").text.casefold()
    page.open("#result_list tbody")
    assert page.document.first(".ct-amount").text == "$2.00"
