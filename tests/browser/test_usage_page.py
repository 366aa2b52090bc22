"""The usage page in the browser: walked by its filters, its chart and its rows, on a desk and in a hand."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from billing.limits.enforce import enforce
from billing.rollups.fold import fold
from billing.types import LimitWindow
from costtrack.clock import iso, utc_now
from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.browser.test_every_page import DESK, HAND, assert_well_formed
from tests.limits import set_limit
from tests.usage import Send

PAGE = "/o/acme/admin/usage/"
COST = ".ct-by-two .ct-figure > strong"


@pytest.fixture
def fortnight(organization: Organization, send: Send) -> None:
    now = utc_now()
    send(
        *(
            {
                "occurred_at": iso(now - timedelta(hours=number * 3.5)),
                "cost_usd": f"0.{number + 10}",
                "model": ("gpt-4.1", "claude-sonnet-4-5", "gemini-2.5-flash")[number % 3],
                "capability": ("chat", "embeddings")[number % 2],
                "status": "failure" if number % 9 == 0 else "success",
                "input_tokens": 1000 + number,
                "output_tokens": 50,
                "user_id": ("ada", "brin")[number % 2],
                "tags": ["project:search"],
            }
            for number in range(96)
        ),
        now=now,
    )
    fold(now=now)


def draws(page: Page) -> bool:
    """Whether the chart has painted something."""
    return bool(
        page.locator(".ct-canvas canvas").evaluate(
            "one => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(value => value)"
        )
    )


@pytest.mark.usefixtures("fortnight")
def test_the_page_is_walked_by_filters_and_rows(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto("/admin/")
    expect(page).to_have_url(re.compile(f"{PAGE}$"))
    expect(page.get_by_role("heading", name="Last 30 days")).to_be_visible()
    assert draws(page)
    whole = page.locator(COST).first.inner_text()

    page.get_by_label("Model", exact=True).select_option("gpt-4.1")
    expect(page).to_have_url(re.compile(r"model=gpt-4\.1"))
    expect(page.get_by_text("All figures are of the chosen model alone")).to_be_visible()
    assert page.locator(COST).first.inner_text() != whole
    page.get_by_role("link", name="Tokens").click()
    expect(page.get_by_role("heading", name="Tokens by the day, stacked by model")).to_be_visible()
    expect(page.get_by_label("Model", exact=True)).to_have_value("gpt-4.1")
    page.get_by_role("navigation", name="Stacked by").get_by_role("link", name="Nothing").click()
    expect(page.get_by_role("heading", name="Tokens by the day")).to_be_visible()
    page.get_by_role("link", name="Clear").click()
    expect(page.locator(COST).first).to_have_text(whole)

    page.get_by_role("region", name="API usage by capability").get_by_role("link", name="chat", exact=True).click()
    expect(page.get_by_label("Capability", exact=True)).to_have_value("chat")
    page.get_by_label("Period", exact=True).select_option("7d")
    expect(page.get_by_role("heading", name="Last 7 days").last).to_be_visible()


@pytest.mark.usefixtures("fortnight")
def test_bars_lead_to_a_day_and_to_the_calls_of_an_hour(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto(f"{PAGE}?range=7d&group_by=none")
    canvas = page.locator(".ct-canvas canvas")
    box = canvas.bounding_box()
    assert box is not None
    # The bar in the middle is three days ago.
    canvas.click(position={"x": box["width"] * 0.53, "y": box["height"] * 0.85})
    day = f"{utc_now() - timedelta(days=3):%Y-%m-%d}"
    expect(page).to_have_url(re.compile(f"range=custom.*start_date={day}&end_date={day}"))
    expect(page.get_by_label("From", exact=True)).to_have_value(day)

    page.get_by_text("The numbers", exact=True).click()
    page.get_by_role("region", name="Cost by the hour, as a table").get_by_role("link").nth(12).click()
    expect(page).to_have_url(re.compile(f"/requests/.*start={day}T12%3A00&end={day}T13%3A00"))
    expect(page.get_by_label("From time")).to_have_value(f"{day}T12:00")


@pytest.mark.usefixtures("fortnight")
def test_numbers_refresh_by_themselves(browse: Browse, owner: User, send: Send) -> None:
    page = browse(owner, viewport=DESK)
    page.goto(f"{PAGE}?range=today")
    before = page.locator(COST).first.inner_text()
    send({"cost_usd": "100"}, now=utc_now())
    page.evaluate("htmx.trigger('#live', 'refresh'); htmx.ajax('GET', location.href, '#live')")
    expect(page.locator(COST).first).not_to_have_text(before)
    assert draws(page)


@pytest.mark.parametrize(("size", "colors"), [(DESK, "light"), (DESK, "dark"), (HAND, "light"), (HAND, "dark")])
@pytest.mark.usefixtures("fortnight")
def test_it_fits_on_every_screen(
    size: ViewportSize, colors: str, browse: Browse, owner: User, organization: Organization
) -> None:
    set_limit(organization, "40", window=LimitWindow.ROLLING_7D)
    enforce(organization=organization, now=utc_now())
    page = browse(owner, viewport=size, color_scheme=colors)
    for query in ("", "range=today&view=tokens", "model=gpt-4.1&group_by=credential", "view=speed", "model=unused"):
        page.goto(f"{PAGE}?{query}")
        assert_well_formed(page)
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    page.goto(PAGE)
    assert_well_formed(page)
    expect(page.get_by_text("The Free plan has no API access")).to_be_visible()
