"""The operators' page about the installation itself."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from costtrack import heartbeat
from costtrack.queues import Queue
from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.plain_pages import PlainPage
from tests.browser.screens import HAND, assert_well_formed
from tests.browser.walks import follow
from tests.costtrack.heartbeats import all_well, worker


@pytest.fixture(autouse=True)
def _all_well() -> Iterator[None]:
    heartbeat.client.cache_clear()
    all_well()
    yield
    heartbeat.client().flushdb()


def row_of(page: PlainPage, name: str) -> str:
    return next(row.text for row in page.document.all("tr") if row.elements[0].text == name)


def test_an_operator_finds_what_is_wrong_and_what_to_do(operator: User) -> None:
    page = PlainPage(operator)
    page.goto("/admin/")
    follow(page, "Health")
    assert "All checks passed" in page.text
    for queue in Queue:
        assert "running" in row_of(page, queue.value)

    heartbeat.worker_lives(worker(*[queue for queue in Queue if queue != Queue.EXPORTS]))
    page.click("Refresh", "link")
    assert "1 check needs attention" in page.text
    assert "unattended" in row_of(page, "exports")
    assert "worker --queues exports" in page.text


def test_what_has_not_been_verified_yet_is_not_shown_as_good(operator: User) -> None:
    page = PlainPage(operator)
    page.goto("/admin/health/")
    badges = {
        (row.elements[1].text, row.first("td span")["class"])
        for row in page.document.all("tr")
        if row.elements[0].text == "Verified"
    }
    assert {text.lower() for text, _ in badges} == {"pending"}
    assert not [css for _, css in badges if "green" in css]


def test_the_page_refreshes_automatically_and_fits_a_phone(browse: Browse, operator: User) -> None:
    page = browse(operator, viewport=HAND, color_scheme="dark")
    page.goto("/admin/health/")
    expect(page.get_by_text("All checks passed")).to_be_visible()
    assert_well_formed(page)
    heartbeat.worker_lives(worker(*[queue for queue in Queue if queue != Queue.EXPORTS]))
    expect(page.get_by_text("1 check needs attention")).to_be_visible()


def test_a_member_does_not_find_it(owner: User) -> None:
    page = PlainPage(owner)
    page.goto("/admin/")
    assert "Health" not in page.names("link")
