"""The page to try the API: `/schema/docs`. It describes all operations at once and takes the longest to appear, so each
test does several things on it."""

import json

import pytest
from playwright.sync_api import Locator, Page, Response, expect
from pytest_django.live_server_helper import LiveServer

from organizations.models import Organization, User
from tests.browser.conftest import Browse
from tests.conftest import Key

pytestmark = pytest.mark.usefixtures("usage")


def opened(page: Page, operation_id: str) -> Locator:
    """The operation's box on the page, open."""
    box = page.locator(f".opblock[id$='-{operation_id}']")
    box.locator(".opblock-summary-control").click()
    return box


def executed(page: Page, box: Locator, path: str) -> Response:
    """What the server answers to the button."""
    with page.expect_response(lambda response: response.url.split("?")[0].endswith(path)) as answer:
        box.get_by_role("button", name="Execute").click()
    expect(box.locator(".live-responses-table tbody .response-col_status")).to_contain_text(str(answer.value.status))
    return answer.value


def test_a_stranger_sees_every_family_and_no_numbers_but_an_api_key_is_enough(
    browse: Browse, live_server: LiveServer, key: Key
) -> None:
    page = browse(refused_with=401)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto("/schema/docs")
    box = opened(page, "costs_runs")
    expect(page.locator("h1.title")).to_contain_text("costtrack")
    for tag in ("costs", "usage", "organizations", "oauth2"):
        expect(page.locator(f"#operations-tag-{tag}")).to_be_visible()
    expect(box.locator(".responses-table").get_by_role("cell", name="422", exact=True)).to_be_visible()
    assert [url for url in requested if not url.startswith((live_server.url, "data:"))] == [], "no other server"

    refused = executed(page, box, "/costs/runs")
    assert refused.status == 401
    assert set(refused.json()) == {"detail"}

    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".auth-container", has_text="bearerAuth")
    dialog.get_by_role("textbox").fill(key.api_key)
    dialog.get_by_role("button", name="Apply credentials").click()
    dialog.page.get_by_role("button", name="Close").first.click()
    assert executed(page, box, "/costs/runs").status == 200


def test_somebody_who_is_signed_in_reads_with_the_session_and_changes_with_the_csrf_token(
    browse: Browse, owner: User, organization: Organization
) -> None:
    page = browse(owner)
    page.goto("/schema/docs")
    answer = executed(page, opened(page, "costs_runs"), "/costs/runs")
    assert answer.status == 200
    assert answer.json()["total_cost"] == pytest.approx(0.50184)

    box = opened(page, "organizations_partial_update")
    box.get_by_placeholder("slug").fill(organization.slug)
    box.locator("textarea.body-param__text").fill(json.dumps({"name": "Acme Labs"}))
    assert executed(page, box, f"/organizations/{organization.slug}").status == 200
    organization.refresh_from_db()
    assert organization.name == "Acme Labs"
