"""What people do in the browser: they follow links of the sidebar, choose filters, and see charts.
(`tests.browser.walks` does it on pages as the server sends them.)"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.walks import entry_of, lines_of
from tests.html import parse

_DRAWN = """(canvas) => Object.fromEntries(
    Chart.getChart(canvas).data.datasets.filter((one) => !one.role).map((one) => [one.label, [...one.data]]))"""


def start(page: Page) -> None:
    """Somewhere; the sidebar leads on from there."""
    page.goto("/o/acme/admin/plan/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def sidebar(page: Page) -> Locator:
    return page.locator("#nav-sidebar-apps")


def follow(page: Page, name: str) -> None:
    """A page of the navigation, by its entry and its tab."""
    tab = page.get_by_role("navigation", name="Tabs").get_by_role("link", name=name, exact=True)
    heading = page.get_by_role("heading", level=1)
    with leaving(page):
        (tab if tab.count() else sidebar(page).get_by_role("link", name=entry_of(name), exact=True)).click()
    if heading.inner_text() != name:
        with leaving(page):
            tab.click()
    expect(heading).to_have_text(name)


@contextmanager
def leaving(page: Page) -> Iterator[None]:
    """For another page, or the same one with another address."""
    with page.expect_navigation(wait_until="domcontentloaded"):
        yield


def choose(page: Page, **filters: str) -> None:
    """Choose the values of the page's lists one after the other, by their labels."""
    for label, value in filters.items():
        with leaving(page):
            field(page, label.replace("_", " ")).select_option(value)


def fill(page: Page, **texts: str) -> None:
    """Fields beside their words, and Enter."""
    for label, text in texts.items():
        field(page, label.replace("_", " ")).fill(text)
    with leaving(page):
        page.keyboard.press("Enter")


def field(page: Page, label: str) -> Locator:
    return page.get_by_role("form", name="Filters").get_by_label(label, exact=True)


def fill_period(page: Page, first: str, last: str) -> None:
    """A period of one's own, both days included."""
    field(page, "Period").select_option("custom")
    field(page, "From").fill(first)
    fill(page, To=last)


def click(page: Page, name: str, role: Any = "link") -> None:
    with leaving(page):
        page.get_by_role(role, name=name, exact=True).first.click()


def chart(page: Page) -> Locator:
    return page.locator("canvas")


def painted(page: Page) -> dict[str, list[float]]:
    """What the page's chart has drawn: its lines by their names."""
    found: dict[str, list[float]] = chart(page).evaluate(_DRAWN)
    return found


def assert_paints_what_was_sent(page: Page) -> None:
    assert painted(page) == lines_of(parse(page.content()))
    assert any(any(line) for line in painted(page).values())
