"""Trees of runs in a real browser: branches open and close, by mouse and by keyboard, and lead to a run's page."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from costtrack.clock import utc_now
from costtrack.organization_paths import for_organization
from organizations.models import User
from tests.browser.conftest import Browse
from tests.usage import Send

PAGE = "/o/acme/admin/runs/"
AWKWARD = "etl/2026-11-02 #1?x=100%"


def call(now: datetime, run_id: str, cost: str, parent: str = "", **others: Any) -> dict[str, Any]:
    at = (now - timedelta(minutes=5)).isoformat()
    told = {"run_id": run_id, "cost_usd": cost, "service": "openai", "model": "gpt-5", "occurred_at": at, **others}
    return {**told, "parent_run_id": parent} if parent else told


@pytest.fixture
def tree(send: Send) -> None:
    """Three levels, one of them wide."""
    now = utc_now()
    send(
        call(now, "nightly", "1", workflow_id="report"),
        call(now, AWKWARD, "0.5", "nightly"),
        call(now, "draft", "0.25", AWKWARD),
        *(call(now, f"part-{number:02}", "0.01", "draft") for number in range(60)),
        now=now,
    )


def row(page: Page, run_id: str) -> Any:
    return page.locator("table.ct-runs tbody tr", has=page.get_by_role("link", name=run_id, exact=True))


def button(page: Page, run_id: str) -> Any:
    return page.get_by_role("button", name=f"Runs below {run_id}", exact=True)


@pytest.mark.usefixtures("tree")
def test_branches_open_one_level_after_the_other_and_close_together(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto(PAGE)
    expect(page.locator("table.ct-runs tbody tr")).to_have_count(1)
    expect(row(page, "nightly")).to_contain_text("$2.35")

    button(page, "nightly").click()
    expect(button(page, "nightly")).to_have_attribute("aria-expanded", "true")
    button(page, AWKWARD).focus()
    page.keyboard.press("Enter")
    expect(row(page, "draft")).to_contain_text("$0.85")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(button(page, "draft")).to_be_focused()
    page.keyboard.press("Space")
    expect(row(page, "part-00")).to_be_visible()
    expect(row(page, "part-59")).to_have_count(0)
    page.get_by_role("button", name="Show more runs").click()
    expect(row(page, "part-59")).to_be_visible()
    expect(page.get_by_role("button", name="Show more runs")).to_have_count(0)

    button(page, AWKWARD).click()
    expect(row(page, "draft")).to_be_hidden()
    button(page, "nightly").click()
    expect(row(page, AWKWARD)).to_be_hidden()
    button(page, "nightly").click()
    expect(row(page, AWKWARD)).to_be_visible()
    expect(row(page, "draft")).to_be_hidden()
    expect(row(page, "part-00")).to_be_hidden()
    button(page, AWKWARD).click()
    expect(row(page, "part-00")).to_be_visible()


@pytest.mark.usefixtures("tree")
def test_an_awkward_id_leads_to_its_run_and_up_again(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto(PAGE)
    button(page, "nightly").click()
    page.get_by_role("link", name=AWKWARD, exact=True).click()
    expect(page).to_have_url(re.compile(re.escape(for_organization("acme", "run", AWKWARD)) + "$"))
    expect(page.locator("h1")).to_contain_text(AWKWARD)
    expect(page.locator(".ct-card .ct-amount").nth(0)).to_have_text("$0.50")
    expect(page.locator(".ct-card .ct-amount").nth(1)).to_have_text("$1.35")
    page.get_by_role("navigation", name="Where this run stands").get_by_role("link", name="nightly").click()
    expect(page.locator("h1")).to_contain_text("Run nightly")
    page.get_by_role("region", name="The newest events of this run").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="What it costs, and why")).to_be_visible()


@pytest.mark.usefixtures("tree")
def test_who_reads_an_opened_tree_is_not_disturbed(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto(PAGE)
    button(page, "nightly").click()
    expect(row(page, AWKWARD)).to_be_visible()
    page.evaluate("document.activeElement.blur()")
    page.evaluate("htmx.ajax('GET', location.href, {source: '#live', target: '#live', swap: 'innerHTML'})")
    page.wait_for_load_state("networkidle")
    expect(row(page, AWKWARD)).to_be_visible()
