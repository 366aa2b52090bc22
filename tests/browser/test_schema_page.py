"""The page to try the API: `/schema/docs`. It describes all operations at once and takes the longest to appear, so one
test does everything on it."""

import json

import pytest
from playwright.sync_api import Locator, Page, Response, expect
from pytest_django.live_server_helper import LiveServer

from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.conftest import Key

pytestmark = pytest.mark.usefixtures("usage")


def filtered(page: Page, tag: str) -> Locator:
    """The section of the tag, alone on the page. Of all operations together, the page has only those in view."""
    page.get_by_placeholder("Filter by tag").fill(tag)
    section = page.locator(f"#operations-tag-{tag}")
    expect(section).to_be_visible()
    return section


def opened(page: Page, tag: str, operation_id: str) -> Locator:
    """The operation's box on the page, open."""
    filtered(page, tag)
    box = page.locator(f".opblock[id$='-{operation_id}']")
    box.locator(".opblock-summary-control").click()
    return box


def executed(page: Page, box: Locator, path: str) -> Response:
    """What the server answers to the button."""
    with page.expect_response(lambda response: response.url.split("?")[0].endswith(path)) as answer:
        box.get_by_role("button", name="Execute").click()
    expect(box.locator(".live-responses-table tbody .response-col_status")).to_contain_text(str(answer.value.status))
    return answer.value


def test_operations_are_tried_with_the_session_then_as_a_stranger_and_with_an_api_key(
    browse: Browse, owner: User, organization: Organization, key: Key, live_server: LiveServer
) -> None:
    page = browse(owner, refused_with=401)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto("/schema/docs")
    expect(page.locator("h1.title")).to_contain_text("costtrack")
    for tag in ("usage", "organizations", "oauth2"):
        filtered(page, tag)
    costs = opened(page, "costs", "costs_runs")
    expect(costs.locator(".responses-table").get_by_role("cell", name="422", exact=True)).to_be_visible()
    assert [url for url in requested if not url.startswith((live_server.url, "data:"))] == [], "no other server"

    # Who is signed in reads with the session, and writes with the token against forged requests.
    answer = executed(page, costs, "/costs/runs")
    assert answer.status == 200
    assert answer.json()["total_cost"] == pytest.approx(0.50184)
    change = opened(page, "organizations", "organizations_partial_update")
    change.get_by_placeholder("slug").fill(organization.slug)
    change.locator("textarea.body-param__text").fill(json.dumps({"name": "Acme Labs"}))
    assert executed(page, change, f"/organizations/{organization.slug}").status == 200
    organization.refresh_from_db()
    assert organization.name == "Acme Labs"

    # A stranger sees no numbers, and an API key is enough.
    page.context.clear_cookies()
    filtered(page, "costs")
    refused = executed(page, costs, "/costs/runs")
    assert refused.status == 401
    assert set(refused.json()) == {"detail"}
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".auth-container", has_text="bearerAuth")
    dialog.get_by_role("textbox").fill(key.api_key)
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.page.get_by_role("button", name="Close").first.click()
    assert executed(page, costs, "/costs/runs").status == 200
