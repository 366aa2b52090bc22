"""What a new user does first, from the sign-in page on: find what caused yesterday's most expensive hour.

It is checked against the events that were sent, at hours of the day at which "yesterday" is another day in UTC than
where the organization is, and at others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

import pytest
import time_machine
from playwright.sync_api import Locator, Page, expect

from billing.rollups.fold import fold
from costtrack.clock import iso
from costtrack.date_text import clock_text
from costtrack.money import usd
from organizations.models import Organization, User
from tests import profiles
from tests.browser.conftest import Browse
from tests.browser.screens import DESK, SCREENS, assert_well_formed, show_on
from tests.browser.test_quality import WITHOUT_SIDEBAR, violations
from tests.browser.test_sign_in import sign_in
from tests.usage import Send

ZONE = ZoneInfo("America/New_York")
MOMENTS = ("2026-11-03T00:05", "2026-11-03T05:02", "2026-11-02T23:58", "2026-11-02T16:30")
HOURS = 60
"""Of usage, until now. The clocks were set back on the day before yesterday, or yesterday."""


@dataclass(frozen=True)
class Call:
    id: str
    at: datetime
    cost: Decimal
    model: str

    @property
    def hour(self) -> datetime:
        """When it began; clocks there change by whole hours."""
        return self.at.replace(minute=0, second=0, microsecond=0)

    @property
    def day(self) -> date:
        return self.at.astimezone(ZONE).date()


@pytest.fixture
def now(request: pytest.FixtureRequest) -> Iterator[datetime]:
    moment = datetime.fromisoformat(request.param).replace(tzinfo=UTC)
    with time_machine.travel(moment, tick=False):
        yield moment


@pytest.fixture
def most_expensive(now: datetime, organization: Organization, send: Send) -> list[Call]:
    """The calls of yesterday's most expensive hour, the most expensive first."""
    Organization.objects.filter(pk=organization.pk).update(time_zone=ZONE.key)
    drawn = Random(11)
    calls = [
        Call(
            id=f"call-{number}",
            at=now - timedelta(minutes=7 + 13 * number),
            cost=Decimal(drawn.randrange(1, 9_000)) / 10_000,
            model=drawn.choice(("gpt-5", "claude-sonnet-4-5", "gemini-2.5-flash")),
        )
        for number in range(HOURS * 60 // 13)
    ]
    for index, folded in enumerate((True, False)):
        send(*(_event(call) for call in calls[index::2]), now=now)
        if folded:
            fold(now=now)
    yesterday = now.astimezone(ZONE).date() - timedelta(days=1)
    hours: dict[datetime, list[Call]] = {}
    for call in calls:
        if call.day == yesterday:
            hours.setdefault(call.hour, []).append(call)
    of_hour = max(hours.values(), key=lambda found: sum(call.cost for call in found))
    return sorted(of_hour, key=lambda call: call.cost, reverse=True)


def _event(call: Call) -> dict[str, object]:
    return {
        "id": call.id,
        "occurred_at": iso(call.at),
        "cost_usd": f"{call.cost}",
        "model": call.model,
        "user_id": "ada",
        "tags": ["project:search"],
    }


def rows(page: Page) -> Locator:
    return page.get_by_role("region", name="Model calls").locator("tbody tr")


def assert_on_the_page_of(page: Page, call: Call) -> None:
    expect(page.get_by_role("heading", name="Cost", exact=True)).to_be_visible()
    expect(page.locator(".ct-amount")).to_have_text(usd(call.cost))
    expect(page.get_by_text(call.id, exact=True).last).to_be_visible()


@pytest.mark.parametrize("now", MOMENTS if profiles.IS_LONG else MOMENTS[1:3], indirect=True)
def test_three_clicks_lead_from_the_sign_in_to_the_call_that_cost_most(
    browse: Browse, owner: User, most_expensive: list[Call]
) -> None:
    page = browse(viewport=DESK)
    page.goto("/")
    sign_in(page, owner.email)
    page.get_by_role("link", name="yesterday", exact=True).click()

    whole = sum((call.cost for call in most_expensive), Decimal(0))
    start = most_expensive[0].hour.astimezone(ZONE)
    said = page.locator(".ct-peak")
    expect(said).to_contain_text(f"Most expensive hour: {clock_text(start)}")
    expect(said).to_contain_text(usd(whole))
    said.get_by_role("link").click()

    expect(page.get_by_role("heading", name=f"Breakdown of {usd(whole)}")).to_be_visible()
    expect(rows(page)).to_have_count(len(most_expensive))
    costs = [row.locator("td").first.inner_text() for row in rows(page).all()]
    assert costs == [usd(call.cost) for call in most_expensive]
    rows(page).first.get_by_role("link").first.click()
    assert_on_the_page_of(page, most_expensive[0])

    page.get_by_role("link", name="ada", exact=True).click()
    expect(page.get_by_role("heading", name="Model calls")).to_be_visible()
    expect(page.get_by_label("User", exact=True)).to_have_value("ada")


@pytest.mark.parametrize("now", MOMENTS if profiles.IS_LONG else MOMENTS[:1], indirect=True)
def test_the_highest_bar_leads_there_too(browse: Browse, owner: User, most_expensive: list[Call]) -> None:
    page = browse(owner, viewport=DESK)
    page.goto("/admin/")
    page.get_by_label("Period", exact=True).select_option("yesterday")
    expect(page.get_by_role("heading", name="Cost by hour and model")).to_be_visible()
    canvas = page.locator(".ct-canvas canvas")
    canvas.scroll_into_view_if_needed()
    model, x, y = canvas.evaluate(
        """(canvas) => {
            const chart = Chart.getChart(canvas), sets = chart.data.datasets.filter((one) => !one.role);
            const sums = chart.data.labels.map((_, at) => sets.reduce((sum, one) => sum + one.data[at], 0));
            const at = sums.indexOf(Math.max(...sums));
            const parts = sets.map((one) => one.data[at]);
            const place = parts.indexOf(Math.max(...parts));
            const { x, y } = chart.getDatasetMeta(place).data[at].getCenterPoint();
            return [sets[place].label, x, y];
        }"""
    )
    canvas.click(position={"x": x, "y": y})
    expect(page.get_by_label("Model", exact=True)).to_have_value(model)
    of_model = [call for call in most_expensive if call.model == model]
    expect(rows(page)).to_have_count(len(of_model))
    rows(page).first.get_by_role("link").first.click()
    assert_on_the_page_of(page, of_model[0])


@pytest.mark.parametrize("now", MOMENTS[-1:], indirect=True)
def test_times_are_filters_that_are_seen_changed_and_cleared(
    browse: Browse, owner: User, most_expensive: list[Call]
) -> None:
    page = browse(owner, viewport=DESK)
    page.goto("/o/acme/admin/requests/")
    start, end = page.get_by_label("From time"), page.get_by_label("To time")
    expect(start).to_be_hidden()
    page.get_by_label("Period", exact=True).select_option("times")
    expect(start).to_be_focused()
    begun = most_expensive[0].hour.astimezone(ZONE)
    start.fill(f"{begun:%Y-%m-%dT%H:%M}")
    end.fill(f"{begun + timedelta(hours=1):%Y-%m-%dT%H:%M}")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(rows(page)).to_have_count(len(most_expensive))
    page.get_by_role("navigation", name="Order").get_by_role("link", name="Most expensive first").click()
    expect(rows(page).first.locator("td").first).to_have_text(usd(most_expensive[0].cost))
    expect(start).to_have_value(f"{begun:%Y-%m-%dT%H:%M}")

    page.get_by_label("Model", exact=True).select_option(most_expensive[0].model)
    expect(page).to_have_url(re.compile(r"range=times&.*model=.*"))
    expect(rows(page).first.locator("td").first).to_have_text(usd(most_expensive[0].cost))
    page.get_by_role("link", name="View day by hour").click()
    expect(page.get_by_role("heading", name="Cost by hour and model")).to_be_visible()
    page.go_back()

    page.get_by_label("Period", exact=True).select_option("7d")
    expect(start).to_be_hidden()
    expect(page).not_to_have_url(re.compile("start="))
    page.get_by_role("link", name="Clear").click()
    expect(page).to_have_url(re.compile("/requests/$"))


@pytest.mark.parametrize("now", MOMENTS[-1:], indirect=True)
def test_the_steps_fit_every_screen_and_are_accessible(browse: Browse, owner: User, most_expensive: list[Call]) -> None:
    """Each page is opened once; its window and its colors change."""
    page = browse(owner, viewport=DESK)
    found: list[str] = []

    def examine_on_every_screen(*, first_cell: Locator | None = None) -> None:
        for size, colors in SCREENS:
            show_on(page, size, colors)
            assert_well_formed(page)
            found.extend(violations(page, colors, context=WITHOUT_SIDEBAR))
            if first_cell is not None:
                # The costs are seen without scrolling.
                box = first_cell.bounding_box()
                assert box is not None
                assert box["x"] + box["width"] <= size["width"]

    page.goto("/o/acme/admin/usage/?range=yesterday")
    examine_on_every_screen()
    page.locator(".ct-peak").get_by_role("link").click()
    expect(rows(page)).to_have_count(len(most_expensive))
    examine_on_every_screen(first_cell=rows(page).first.locator("td").first)
    for query in ("start=soon", "range=times", "start=2026-11-01T01:00-05:00&end=2026-11-01T02:00", "sort_by=cost"):
        page.goto(f"/o/acme/admin/requests/?{query}")
        examine_on_every_screen()
    assert not found, "\n".join(found)
