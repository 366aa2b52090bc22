"""The request log in a real browser: filters act at once, pages go on and back, and a row says why it costs so much."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from costtrack.clock import utc_now
from organizations.models import User
from tests.browser.conftest import Browse
from tests.usage import Send, set_price

PAGE = "/o/acme/admin/requests/"


@pytest.fixture
def calls(send: Send) -> None:
    now = utc_now()
    set_price("gpt-5", provider="openai", input="1.25", output="10")
    send(
        *(
            {
                "service": "openai",
                "model": "gpt-5",
                "input_tokens": 1000 + number,
                "output_tokens": 34,
                "user_id": "ada" if number % 2 else "bob",
                "occurred_at": (now - timedelta(minutes=number)).isoformat(),
            }
            for number in range(120)
        ),
        {
            "service": "openai",
            "model": "gpt-5",
            "status": "failure",
            "status_code": 429,
            "occurred_at": (now - timedelta(hours=3)).isoformat(),
        },
        now=now,
    )


@pytest.mark.usefixtures("calls")
def test_pages_go_on_and_back(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto(PAGE)
    tokens = page.locator("#live tbody tr td:nth-child(5)")
    expect(tokens).to_have_count(50)
    expect(tokens.first).to_have_text("1,000")
    page.get_by_role("link", name="Older").click()
    expect(tokens.first).to_have_text("1,050")
    page.get_by_role("link", name="Older").click()
    expect(tokens).to_have_count(21)
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newer").click()
    expect(tokens.first).to_have_text("1,050")
    page.get_by_role("link", name="Newest", exact=True).click()
    expect(tokens.first).to_have_text("1,000")


@pytest.mark.usefixtures("calls")
def test_filters_act_and_stay_in_the_address(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto(PAGE)
    page.get_by_label("Status").select_option("failure")
    expect(page.locator("#live tbody tr")).to_have_count(1)
    expect(page.locator("#live tbody tr")).to_contain_text("Failure 429")
    assert "status=failure" in page.url
    page.get_by_role("link", name="Clear").click()
    page.get_by_text("More filters").click()
    page.get_by_label("User").fill("ada")
    page.keyboard.press("Enter")
    expect(page.locator("#live tbody tr")).to_have_count(50)
    expect(page.get_by_label("User")).to_have_value("ada")
    assert "user=ada" in page.url


@pytest.mark.usefixtures("calls")
def test_a_row_leads_to_why_it_costs_what_it_costs(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto(PAGE)
    page.locator("#live tbody tr").first.get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="What it costs, and why")).to_be_visible()
    table = page.get_by_role("region", name="How the cost is computed")
    expect(table).to_contain_text("$1.25 per million")
    expect(table.get_by_role("row", name="At the price of")).to_contain_text("$0.00159")
