"""What people do on a page and read from it, in their words: they follow links of the sidebar, choose filters, and see
figures, tables and charts. Pages are as the server sends them (`tests.browser.plain_pages`); `tests.browser.clicks`
does the same in the browser. Nothing here knows how a page is built, and texts are as they are shown."""

import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from rest_framework.test import APIClient

from costtrack.money import usd
from costtrack.navigation import ENTRIES
from tests.browser.plain_pages import PlainPage
from tests.html import Element

Rows = list[list[str]]

FILTERS = "form[aria-label=Filters]"
SIDEBAR = "#nav-sidebar-apps"
TABS = "nav[aria-label=Tabs]"


# --- Going about -----------------------------------------------------------------------------------------------


def start(page: PlainPage) -> None:
    """Somewhere; the sidebar leads on from there."""
    page.goto("/o/acme/admin/plan/")


def entry_of(tab: str) -> str:
    """Return the entry of the sidebar that has the tab."""
    (title,) = (entry.title for entry in ENTRIES for each in entry.tabs if each.title == tab)
    return title


def tabs(page: PlainPage) -> list[str]:
    return [link.name for link in page.document.all(f"{TABS} a")]


def follow(page: PlainPage, name: str) -> None:
    """A page of the navigation, by its entry and its tab. A tab of the current page is chosen directly."""
    if name not in tabs(page):
        page.click(entry_of(name), "link", SIDEBAR)
        if page.heading == name:
            return
    page.click(name, "link", TABS)
    assert page.heading == name


def choose(page: PlainPage, **filters: str) -> None:
    """One value after the other of the page's lists, by what stands beside them (`From_` is `From`)."""
    for label, value in filters.items():
        page.fill(label, value, FILTERS)
        page.send(page.document.first(FILTERS))


def fill(page: PlainPage, **texts: str) -> None:
    """Fields beside their words, and Enter."""
    for label, text in texts.items():
        page.fill(label, text, FILTERS)
    page.send(page.document.first(FILTERS))


def fill_period(page: PlainPage, first: str, last: str) -> None:
    """A period of one's own, both days included."""
    fill(page, Period="custom", From=first, To=last)


def clear(page: PlainPage) -> None:
    page.click("Clear", "link")


# --- Reading ---------------------------------------------------------------------------------------------------


def figures(page: PlainPage) -> dict[str, str]:
    """The large numbers below their names."""
    return {name: lines[0] for name, lines in _figures(page).items()}


def beside(page: PlainPage, figure: str) -> str:
    """What stands below a large number."""
    return "\n".join(_figures(page)[figure][1:])


def _figures(page: PlainPage) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for heading in page.document.all("h2, h3"):
        around = heading.parent
        if around is not None and any(child.tag == "strong" for child in around.elements):
            lines = around.lines
            found[heading.text] = lines[lines.index(heading.text) + 1 :]
    return found


def table(page: PlainPage, name: str) -> Element:
    (region,) = (item for item in page.document.all("[role=region]") if item["aria-label"] == name)
    return region.first("table")


def rows(page: PlainPage, name: str) -> Rows:
    """The cells of a table that has this name; lines of a cell are line feeds."""
    found = [["\n".join(cell.lines) for cell in row.elements] for row in table(page, name).all("tbody tr")]
    return [cells for cells in found if len(cells) > 1 and any(cells)]


def cells(page: PlainPage, name: str, *headings: str) -> Rows:
    """Some columns of a table, by their heads."""
    heads = [cell.text for cell in table(page, name).all("thead tr")[-1].elements]
    indexes = [heads.index(item) for item in headings]
    return [[row[index] for index in indexes] for row in rows(page, name)]


def columns(page: PlainPage, name: str, *headings: str) -> Rows:
    """The same; of each cell the first line."""
    return [[cell.partition("\n")[0] for cell in row] for row in cells(page, name, *headings)]


def drawn(page: PlainPage) -> dict[str, list[float]]:
    """What the page's chart is to draw: its lines by their names."""
    return lines_of(page.document)


def drawn_by_label(page: PlainPage) -> dict[str, dict[str, float]]:
    """The same, with what stands below each bar; without what is nothing."""
    return {
        name: {label: amount for label, amount in zip(labels(page), line, strict=True) if amount}
        for name, line in drawn(page).items()
    }


def labels(page: PlainPage) -> list[str]:
    """Of the chart's horizontal axis."""
    found: list[str] = _chart(page.document)["labels"]
    return found


def lines_of(document: Element) -> dict[str, list[float]]:
    """What the page's chart is to draw. (`tests.browser.clicks.painted` is what it has drawn.)"""
    return {line["name"]: line["values"] for line in _chart(document)["lines"]}


def _chart(document: Element) -> Any:
    (canvas,) = document.all("canvas[data-chart]")
    (text,) = document.first(f"script#{canvas['data-chart']}").children
    assert isinstance(text, str)
    return json.loads(text)


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
    return f"{rate * 100:.2f}".rstrip("0").rstrip(".") + "%"


def share(part: Any, whole: Any) -> str:
    part, whole = Decimal(str(part)), Decimal(str(whole))
    if whole <= 0:
        return "-"
    return "< 0.1%" if 0 < part * 1000 < whole else f"{part * 100 / whole:,.1f}%"


def most_expensive_first(items: Iterable[Any], amount: Callable[[Any], Any]) -> list[Any]:
    return sorted(items, key=lambda item: -Decimal(str(amount(item))))


# --- Lists of the admin ----------------------------------------------------------------------------------------


def listed(page: PlainPage) -> list[dict[str, str]]:
    """The rows of a list by the heads of its columns; none where the page says that there is nothing."""
    heads = [cell.lines[:1] for cell in page.document.all("#result_list thead th")]
    return [
        {head[0]: "\n".join(cell.lines) for head, cell in zip(heads, row.elements, strict=False) if head}
        for row in page.document.all("#result_list tbody tr")
    ]


def row_of(page: PlainPage, text: str) -> Element:
    """The first row of a list that has the text."""
    return next(row for row in page.document.all("#result_list tbody") if text in row.text)


def narrow(page: PlainPage, **choices: str) -> None:
    """By the list's filters, named as in its address."""
    for name, value in choices.items():
        page.fill(name, value, "#changelist-filter")
    page.click("Apply Filters", "button")


def narrow_to(page: PlainPage, choice: str) -> None:
    """By a filter that acts at once."""
    page.click(choice, "link", "#changelist-filter")


def search(page: PlainPage, text: str) -> None:
    page.document.first("#searchbar").attributes["value"] = text
    page.send(page.document.first("#changelist-search"))
