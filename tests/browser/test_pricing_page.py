"""The pricing page in the browser: filters, the chart, and the group history."""

import re
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from costtrack.clock import utc_now
from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.test_every_page import DESK, HAND, assert_well_formed
from tests.usage import Send

PAGE = "/o/acme/admin/pricing/"


@pytest.fixture
def groups(send: Send) -> None:
    """30 groups on 28 days, of three models and two agents; no two of a model on one day, whatever the hour."""
    now = utc_now()
    models = (("openai", "gpt-5"), ("anthropic", "claude-opus-4"), ("google", "gemini-2.5-pro"))
    send(
        *(
            {
                "service": models[number % 3][0],
                "model": models[number % 3][1],
                "agent_id": f"agent-{number % 2}",
                "agent_name": ("Tutor", "Grader")[number % 2],
                "group_id": f"group-{number:02}",
                "group_name": f"Office hours {number}",
                "session_id": f"session-{number}",
                "cost_usd": f"{number + 1}.25",
                "input_tokens": 12_000 + number,
                "output_tokens": 640,
                "occurred_at": (now - timedelta(days=number % 28)).isoformat(),
            }
            for number in range(30)
        ),
        now=now,
    )


def drawn(page: Page) -> Any:
    """The names of the chart's colors, as Chart.js has them."""
    return page.evaluate("Chart.getChart(document.querySelector('canvas')).data.datasets.map((one) => one.label)")


@pytest.mark.usefixtures("groups")
def test_filters_are_chosen_together_and_stand_in_the_address(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto(PAGE)
    expect(page.get_by_label("Period")).to_have_value("30d")
    assert len(drawn(page)) == 3

    page.locator("summary", has_text="All models").click()
    page.get_by_role("checkbox", name="gpt-5").check()
    page.get_by_role("checkbox", name="gemini-2.5-pro").check()
    assert "model=" not in page.url
    page.keyboard.press("Escape")
    page.wait_for_url(re.compile(r"model=.*model="))
    expect(page.locator("summary", has_text="and 1 more")).to_be_visible()
    assert sorted(drawn(page)) == ["gemini-2.5-pro", "gpt-5"]

    page.locator("summary", has_text="All agents").click()
    page.get_by_role("checkbox", name="Grader").check()
    page.locator("h1").first.click()
    page.wait_for_url(re.compile(r"model=.*agent=agent-1"))
    expect(page.locator(".ct-groups tbody tr")).to_have_count(10)

    page.get_by_label("Period").select_option("today")
    page.wait_for_url(re.compile(r"range=today.*agent=agent-1"))
    page.get_by_role("link", name="Clear").click()
    page.wait_for_url(re.compile(r"pricing/$"))
    assert len(drawn(page)) == 3


@pytest.mark.usefixtures("groups")
def test_groups_are_sorted_paged_and_searched(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto(PAGE)
    rows = page.locator(".ct-groups tbody tr")
    page.get_by_role("link", name="Cost", exact=True).click()
    page.wait_for_url(re.compile(r"sort_by=total_cost"))
    expect(rows.first).to_contain_text("$30.25")
    expect(page.get_by_role("columnheader", name="Cost").last).to_have_attribute("aria-sort", "descending")

    page.get_by_role("link", name="Next").click()
    page.wait_for_url(re.compile(r"sort_by=total_cost.*page=2"))
    expect(rows).to_have_count(5)
    expect(page.get_by_text("26 to 30 of 30")).to_be_visible()

    page.get_by_role("searchbox", name="Name or id of a group").fill("hours 7")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"sort_by=total_cost.*search=hours"))
    expect(rows).to_have_count(1)
    assert "page=" not in page.url
    rows.first.get_by_role("link", name="session-7").click()
    expect(page.locator("#live")).to_contain_text("session-7")


@pytest.mark.usefixtures("groups")
def test_a_bar_leads_to_its_day_and_model(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto(PAGE)
    place = page.evaluate("""() => {
        const chart = Chart.getChart(document.querySelector("canvas"));
        const values = chart.data.datasets[0].data;
        const bar = chart.getDatasetMeta(0).data[values.indexOf(Math.max(...values))].getCenterPoint();
        return { x: bar.x, y: bar.y };
    }""")
    page.locator("canvas").click(position=place)
    page.wait_for_url(re.compile(r"range=custom.*model="))
    expect(page.locator(".ct-groups tbody tr")).to_have_count(1)


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("colors", ["light", "dark"])
def test_it_fits_a_hand(browse: Browse, owner: User, colors: str) -> None:
    page = browse(owner, viewport=HAND, color_scheme=colors)
    page.goto(PAGE)
    assert_well_formed(page)
    page.locator("summary", has_text="All agents").click()
    expect(page.get_by_role("checkbox", name="Tutor")).to_be_visible()
    assert_well_formed(page)
