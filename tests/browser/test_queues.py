"""What waits for somebody: unreadable records are tried again, unpriced events get a price."""

import json
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from billing.models import QuarantinedRecord, UnpricedEvent, UsageEvent
from costtrack.clock import utc_now
from organizations.models import Organization, User
from tests.browser.conftest import Browse

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


def test_one_record_is_looked_at_and_tried_again(browse: Browse, owner: User) -> None:
    make_the_early_record_good()
    page = browse(owner)
    page.goto(QUARANTINE)
    page.locator("#result_list tbody", has_text="early-1").get_by_role("link").first.click()
    expect(page.locator(".ct-code")).to_contain_text('"early-1"')
    page.get_by_role("link", name="Retry").click()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("The record was added to the ledger.")).to_be_visible()
    expect(page.locator(".ct-details")).to_contain_text("resolved", ignore_case=True)


def test_an_unpriced_model_is_given_a_price_and_its_events_a_cost(
    browse: Browse, owner: User, organization: Organization
) -> None:
    page = browse(owner)
    page.goto("/admin/")
    page.get_by_role("link", name="1 event has no price yet").click()
    expect(page.locator(".ct-table")).to_contain_text("house-13b")
    page.get_by_role("button", name="Price now").click()
    expect(page.get_by_text("No events could be priced")).to_be_visible()

    page.get_by_role("link", name="Set a price").click()
    expect(page.get_by_label("Model")).to_have_value("house-13b")
    expect(page.get_by_label("Provider")).to_have_value("in-house")
    page.get_by_label("Input", exact=True).fill("2")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#result_list")).to_contain_text("house-13b")

    page.goto("/admin/billing/unpricedevent/")
    page.get_by_role("button", name="Price now").click()
    expect(page.get_by_text("1 event was priced.")).to_be_visible()
    expect(page.get_by_role("heading", name="Every event has a price")).to_be_visible()
    assert not UnpricedEvent.objects.of(organization).exists()

    page.goto("/admin/billing/usageevent/?q=house-1")
    expect(page.locator("#result_list")).to_contain_text("priced later", ignore_case=True)
    page.locator("#result_list tbody").get_by_role("link").first.click()
    expect(page.locator(".ct-amount")).to_have_text("$2.00")
