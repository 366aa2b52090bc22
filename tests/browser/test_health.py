"""The operators' page about the installation itself."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from costtrack import heartbeat
from costtrack.queues import Queue
from organizations.models import User
from tests.browser.conftest import Browse
from tests.browser.screens import HAND, assert_well_formed
from tests.costtrack.heartbeats import all_well, worker


@pytest.fixture(autouse=True)
def _all_well() -> Iterator[None]:
    heartbeat.client.cache_clear()
    all_well()
    yield
    heartbeat.client().flushdb()


def test_an_operator_finds_what_is_wrong_and_what_to_do(browse: Browse, operator: User) -> None:
    page = browse(operator)
    page.goto("/admin/")
    page.get_by_role("link", name="Health").click()
    expect(page.get_by_text("All checks passed")).to_be_visible()
    for queue in Queue:
        expect(page.get_by_role("row", name=queue.value).get_by_text("running", exact=True)).to_be_visible()

    heartbeat.worker_lives(worker(*[queue for queue in Queue if queue != Queue.EXPORTS]))
    page.get_by_role("link", name="Refresh").click()
    expect(page.get_by_text("1 check needs attention")).to_be_visible()
    expect(page.get_by_role("row", name="exports").first).to_contain_text("unattended", ignore_case=True)
    expect(page.get_by_text("worker --queues exports")).to_be_visible()


def test_it_looks_again_by_itself(browse: Browse, operator: User) -> None:
    page = browse(operator)
    page.goto("/admin/health/")
    expect(page.get_by_text("All checks passed")).to_be_visible()
    heartbeat.worker_lives(worker(*[queue for queue in Queue if queue != Queue.EXPORTS]))
    expect(page.get_by_text("1 check needs attention")).to_be_visible()


def test_the_page_fits_a_hand(browse: Browse, operator: User) -> None:
    page = browse(operator, viewport=HAND, color_scheme="dark")
    page.goto("/admin/health/")
    assert_well_formed(page)


def test_a_member_does_not_find_it(browse: Browse, owner: User) -> None:
    page = browse(owner)
    page.goto("/admin/")
    expect(page.get_by_role("link", name="Health")).to_have_count(0)
