"""From a mark in the chart of usage to the anomaly, which its owner expected."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from billing.rollups.fold import fold
from costtrack.clock import iso, utc_now
from organizations.models import Organization, User
from tests.billing.stored_anomalies import make_anomaly
from tests.browser.conftest import Browse
from tests.browser.screens import DESK, assert_fits_every_screen
from tests.usage import Send

PAGE = "/o/acme/admin/usage/?range=7d"
_MARKS = "canvas => Chart.getChart(canvas).data.datasets.find(({ role }) => role === 'anomaly').data"


@pytest.fixture
def unusual_day(organization: Organization, send: Send) -> None:
    """A week of two users, and an hour of one of them that costs ten times as much."""
    now = utc_now()
    days = [now - number * timedelta(days=1) for number in range(7)]
    calls = [{"occurred_at": iso(day), "cost_usd": "20", "user_id": user} for day in days for user in ("ada", "brin")]
    start = (now - timedelta(days=2)).replace(minute=0, second=0, microsecond=0)
    send(*calls, {"occurred_at": iso(start), "cost_usd": "500", "user_id": "ada", "model": "gpt-5"}, now=now)
    fold(now=now)
    make_anomaly(organization, ("organization", ""), ("user", "ada"), at=start)


@pytest.mark.usefixtures("unusual_day")
def test_from_a_mark_in_the_chart_to_the_anomaly(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto(PAGE)
    assert_fits_every_screen(page)
    expect(page.get_by_role("button", name="Unusual")).to_be_visible()
    marks = page.locator("canvas").evaluate(_MARKS)
    assert [value for value in marks if value] == [540]
    page.get_by_text("Show data", exact=True).click()
    text = "Acme Research: $500.00, expected about $10.00"
    expect(page.get_by_role("cell", name=text)).to_be_visible()

    page.get_by_role("link", name="view anomalies").click()
    assert_fits_every_screen(page)
    page.get_by_role("main").get_by_role("link", name="hours ago").or_(page.locator("#result_list th a")).first.click()
    assert_fits_every_screen(page)
    expect(page.get_by_text("up to $20.00").first).to_be_visible()
    page.set_viewport_size(DESK)
    page.get_by_role("link", name="Mark as expected").click()
    page.get_by_role("button", name="Mark as expected").click()
    expect(page.get_by_text("The anomaly is marked as expected.")).to_be_visible()
    page.goto(PAGE)
    expect(page.get_by_role("button", name="Unusual")).to_have_count(0)
