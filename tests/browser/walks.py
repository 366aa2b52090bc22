"""What people do on a page and read from it, in their words: they follow links of the sidebar, choose filters, and see
figures, tables and charts. Nothing here knows how a page is built, and texts are as they are shown."""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from playwright.sync_api import Locator, Page, expect
from rest_framework.test import APIClient

from costtrack.money import usd

Rows = list[list[str]]

_FIGURES = """() => Object.fromEntries([...document.querySelectorAll("h2, h3")]
    .map((head) => [head.innerText.trim(), head.parentElement])
    .filter(([, around]) => around.querySelector(":scope > strong"))
    .map(([name, around]) => [name, around.innerText])
    .map(([name, text]) => [name, text.slice(text.indexOf(name) + name.length).trim().split(/\\s*\\n\\s*/)]))"""
_ROWS = """(table) => [...table.querySelectorAll("tbody tr")]
    .map((row) => [...row.cells].map((cell) => cell.innerText.replace(/\\s*\\n\\s*/g, "\\n").trim()))
    .filter((cells) => cells.length > 1 && cells.some(Boolean))"""
_HEADS = """(table) => [...table.querySelectorAll("thead tr:last-child > *")]
    .map((cell) => cell.innerText.replace(/[↑↓]/, "").trim())"""
_DRAWN = """(canvas) => {
    const { labels, datasets } = Chart.getChart(canvas).data;
    return { labels, lines: Object.fromEntries(datasets.map((one) => [one.label, [...one.data]])) };
}"""


# --- Going about -----------------------------------------------------------------------------------------------


def start(page: Page) -> None:
    """Somewhere; the sidebar leads on from there."""
    page.goto("/o/acme/admin/plan/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def sidebar(page: Page) -> Locator:
    return page.locator("#nav-sidebar-apps")


def follow(page: Page, name: str, title: str = "") -> None:
    """A link of the sidebar, to the page with this title."""
    with leaving(page):
        sidebar(page).get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(title or name)


@contextmanager
def leaving(page: Page) -> Any:
    """For another page, or the same one with another address."""
    with page.expect_navigation(wait_until="domcontentloaded"):
        yield


def choose(page: Page, **filters: str) -> None:
    """One value after the other of the page's lists, by what stands beside them (`From_` is `From`)."""
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


def clear(page: Page) -> None:
    with leaving(page):
        page.get_by_role("link", name="Clear", exact=True).click()


def click(page: Page, name: str, role: Any = "link") -> None:
    with leaving(page):
        page.get_by_role(role, name=name, exact=True).first.click()


# --- Reading ---------------------------------------------------------------------------------------------------


def figures(page: Page) -> dict[str, str]:
    """The large numbers below their names."""
    return {name: lines[0] for name, lines in page.evaluate(_FIGURES).items()}


def beside(page: Page, figure: str) -> str:
    """What stands below a large number."""
    lines: list[str] = page.evaluate(_FIGURES)[figure]
    return "\n".join(lines[1:])


def table(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True).get_by_role("table")


def rows(page: Page, name: str) -> Rows:
    """The cells of a table that has this name; lines of a cell are line feeds."""
    found: Rows = table(page, name).evaluate(_ROWS)
    return found


def cells(page: Page, name: str, *headings: str) -> Rows:
    """Some columns of a table, by their heads."""
    heads: list[str] = table(page, name).evaluate(_HEADS)
    indexes = [heads.index(one) for one in headings]
    return [[row[index] for index in indexes] for row in rows(page, name)]


def columns(page: Page, name: str, *headings: str) -> Rows:
    """The same; of each cell the first line."""
    return [[cell.partition("\n")[0] for cell in row] for row in cells(page, name, *headings)]


def drawn(page: Page) -> dict[str, list[float]]:
    """What the page's chart has drawn: its lines by their names."""
    found: dict[str, list[float]] = chart(page).evaluate(_DRAWN)["lines"]
    return found


def drawn_by_label(page: Page) -> dict[str, dict[str, float]]:
    """The same, with what stands below each bar; without what is nothing."""
    found: dict[str, Any] = chart(page).evaluate(_DRAWN)
    return {
        name: {label: amount for label, amount in zip(found["labels"], line, strict=True) if amount}
        for name, line in found["lines"].items()
    }


def labels(page: Page) -> list[str]:
    """Of the chart's horizontal axis."""
    found: list[str] = chart(page).evaluate(_DRAWN)["labels"]
    return found


def chart(page: Page) -> Locator:
    return page.locator("canvas")


def same_case(lines: Rows) -> Rows:
    """For comparisons: badges are shown in capitals."""
    return [[" ".join(cell.casefold().split()) for cell in cells] for cells in lines]


# --- What the API answers, as people would see it --------------------------------------------------------------


def answer(api: APIClient, path: str, **query: Any) -> Any:
    response = api.get(path, {name: value for name, value in query.items() if value not in ("", None)})
    assert response.status_code == 200, (path, query, response.content)
    return response.json()


def posted(api: APIClient, path: str, body: Any) -> Any:
    response = api.post(path, body, format="json")
    assert response.status_code == 200, (path, body, response.content)
    return response.json()


def all_pages(api: APIClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Of a list, page after page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = answer(api, path, **query, limit=200, cursor=cursor)
        found += page["results"]
        cursor = page["next_cursor"]
        if not cursor:
            return found


def dollars(amount: Any) -> str:
    """An amount of an answer, which may be text or a number."""
    return usd(Decimal(str(amount)))


def count(number: int) -> str:
    return f"{number:,}"


def percent(rate: float) -> str:
    return f"{rate * 100:.2f}".rstrip("0").rstrip(".") + " %"


def share(part: Any, whole: Any) -> str:
    part, whole = Decimal(str(part)), Decimal(str(whole))
    if whole <= 0:
        return "-"
    return "< 0.1 %" if 0 < part * 1000 < whole else f"{part * 100 / whole:,.1f} %"


def most_expensive_first(items: Iterable[Any], amount: Callable[[Any], Any]) -> list[Any]:
    return sorted(items, key=lambda one: -Decimal(str(amount(one))))


# --- Lists of the admin ----------------------------------------------------------------------------------------

_LISTED = """(list) => {
    const heads = [...list.querySelectorAll("thead th")].map((cell) => cell.innerText.trim().split("\\n")[0]);
    const text = (cell) => cell.innerText.replace(/\\s*\\n\\s*/g, "\\n").trim();
    return [...list.querySelectorAll("tbody tr")].map((row) =>
        Object.fromEntries([...row.cells].map((cell, index) => [heads[index], text(cell)]).filter(([head]) => head)));
}"""


def listed(page: Page) -> list[dict[str, str]]:
    """The rows of a list by the heads of its columns; none where the page says that there is nothing."""
    found = page.locator("#result_list")
    rows: list[dict[str, str]] = found.evaluate(_LISTED) if found.count() else []
    return rows


def narrow(page: Page, **choices: str) -> None:
    """By the list's filters, named as in its address: opened, chosen, applied."""
    page.get_by_role("button", name="Filters").first.click()
    sheet = page.locator("#changelist-filter")
    for name, value in choices.items():
        chosen = sheet.locator(f"[name={name}]")
        if chosen.evaluate("field => field.tagName") == "SELECT":
            chosen.select_option(value, force=True)
        else:
            chosen.fill(value)
    with leaving(page):
        page.get_by_role("button", name="Apply Filters").click()


def narrow_to(page: Page, choice: str) -> None:
    """By a filter that acts at once."""
    page.get_by_role("button", name="Filters").first.click()
    with leaving(page):
        page.locator("#changelist-filter").get_by_role("link", name=choice, exact=True).click()


def search(page: Page, text: str) -> None:
    page.locator("#searchbar").fill(text)
    with leaving(page):
        page.keyboard.press("Enter")
