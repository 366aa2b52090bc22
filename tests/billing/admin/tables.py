"""What a table of a page shows: the texts and the links of its cells."""

import re
from html import unescape
from typing import Any

from billing.admin.components.tables import Table


def texts(table: Table[Any]) -> list[dict[str, str]]:
    """The rows by the headings of their columns."""
    return [{column.heading: plain(cell) for column, cell in row} for row in table.cells]


def column(table: Table[Any], heading: str) -> list[str]:
    return [row[heading] for row in texts(table)]


def links(table: Table[Any], heading: str) -> list[str]:
    """The first link of each row's cell in a column; empty where there is none."""
    cells = [cell for row in table.cells for column, cell in row if column.heading == heading]
    urls = [re.findall(r'href="([^"]*)"', str(cell)) for cell in cells]
    return [unescape(found[0]) if found else "" for found in urls]


def plain(cell: object) -> str:
    """A cell without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", str(cell))).split())
