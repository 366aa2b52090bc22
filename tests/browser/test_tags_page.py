"""The page of tags in the browser."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import expect

from costtrack.clock import utc_now
from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.test_every_page import DESK, HAND, assert_well_formed
from tests.usage import Send

PAGE = "/o/acme/admin/tags/"


@pytest.fixture
def tagged(send: Send) -> None:
    """Calls of 28 days, of three projects and two environments, and some without a tag."""
    now = utc_now()
    send(
        *(
            {
                "model": "gpt-5",
                "service": "openai",
                "cost_usd": f"0.{number % 7 + 1}",
                "tags": []
                if number % 5 == 0
                else [f"project:{('search', 'chat', 'docs')[number % 3]}", f"env:{('prod', 'staging')[number % 2]}"],
                "occurred_at": (now - timedelta(days=number % 28, minutes=number)).isoformat(),
            }
            for number in range(90)
        ),
        now=now,
    )


@pytest.mark.usefixtures("tagged")
def test_tags_are_narrowed_and_opened(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto(PAGE)
    rows = page.locator("#tags tbody tr")
    expect(rows).to_have_count(5)
    stacked = page.evaluate("Chart.getChart(document.querySelector('canvas')).options.scales.y.stacked")
    assert not stacked

    page.get_by_label("Kind of tag").select_option("env")
    page.wait_for_url(re.compile(r"kind=env"))
    expect(rows).to_have_count(2)
    page.get_by_role("link", name="Requests", exact=True).click()
    page.wait_for_url(re.compile(r"kind=env.*sort_by=calls"))
    page.get_by_role("link", name="env:prod").click()
    page.wait_for_url(re.compile(r"tag=env%3Aprod"))
    expect(page.locator("#live")).to_contain_text("Cost of env:prod per day (UTC)")
    page.get_by_role("link", name="All tags").click()
    expect(rows).to_have_count(2)

    page.get_by_role("searchbox", name="Tag").fill("prod")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"search=prod"))
    expect(rows).to_have_count(1)


@pytest.mark.usefixtures("tagged")
@pytest.mark.parametrize("colors", ["light", "dark"])
def test_it_fits_a_hand(browse: Browse, owner: User, colors: str) -> None:
    page = browse(owner, viewport=HAND, color_scheme=colors)
    page.goto(PAGE)
    assert_well_formed(page)
