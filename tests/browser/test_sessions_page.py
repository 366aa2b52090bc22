"""Sessions and executions: from the lists to a session and back, on a desk and in a hand."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from costtrack.clock import utc_now
from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.test_every_page import DESK, HAND, assert_well_formed
from tests.usage import Send

LIST = "/o/acme/admin/sessions/"
ODD = "a/../b %2F ?#größe"


@pytest.fixture(autouse=True)
def _usage(send: Send) -> None:
    now = utc_now()

    def at(seconds: int) -> str:
        return (now - timedelta(hours=1) + timedelta(seconds=seconds)).isoformat()

    told = {"execution_id": ODD, "workflow_id": "report", "model": "gpt-5", "service": "openai", "cost_usd": "0.5"}
    send(
        *({**told, "session_id": "plan", "phase_id": "plan", "occurred_at": at(20 * n)} for n in range(60)),
        {**told, "session_id": ODD, "phase_id": "build", "occurred_at": at(600), "input_tokens": 12_345},
        {"session_id": "plan", "kind": "tool_call", "tool": "x" * 200, "tool_result_tokens": 9, "occurred_at": at(30)},
        {"session_id": "y" * 255, "execution_id": "z" * 255, "model": "m", "occurred_at": at(700)},
        now=now,
    )


def heading(page: Page, text: str) -> None:
    expect(page.locator("h2", has_text=text).first).to_be_visible()


@pytest.mark.parametrize(("size", "colors"), [(DESK, "light"), (HAND, "dark")])
def test_one_goes_from_the_list_to_an_execution_and_its_sessions(
    browse: Browse, viewer: User, size: ViewportSize, colors: str
) -> None:
    page = browse(viewer, viewport=size, color_scheme=colors)
    page.goto(LIST)
    assert_well_formed(page)
    page.get_by_role("link", name="Executions", exact=True).click()
    assert_well_formed(page)
    page.get_by_role("link", name=ODD, exact=True).first.click()
    expect(page.locator("#told-id")).to_have_text(ODD)
    heading(page, "Timeline")
    assert_well_formed(page)
    page.locator(".ct-timeline").get_by_role("link", name=ODD, exact=True).click()
    expect(page.locator("#told-id")).to_have_text(ODD)
    heading(page, "Calls")
    assert_well_formed(page)
    page.get_by_role("link", name="Model call").click()
    assert_well_formed(page)


def test_older_calls_are_a_page_further(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto(f"{LIST}s/plan/")
    calls = page.get_by_role("region", name="Calls").locator("tbody tr")
    expect(calls).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(calls).to_have_count(11)
    page.get_by_role("link", name="Newest").click()
    expect(calls).to_have_count(50)


def test_an_id_is_found_and_an_unknown_one_is_told(browse: Browse, owner: User) -> None:
    page = browse(owner, viewport=DESK)
    page.goto(LIST)
    page.get_by_label("Find by id").fill("nobody")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("No session and no execution has this id.")
    page.get_by_label("Find by id").fill("plan")
    page.keyboard.press("Enter")
    expect(page.locator("#told-id")).to_have_text("plan")


def test_a_page_of_an_unknown_id_leads_back(browse: Browse, owner: User) -> None:
    page = browse(owner, refused_with=404, viewport=DESK)
    page.goto("/o/acme/admin/executions/nobody/")
    heading(page, "Nothing has this id")
    page.get_by_role("link", name="All executions").click()
    heading(page, "The newest executions")
