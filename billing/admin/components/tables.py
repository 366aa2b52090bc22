"""Tables. A table's columns are declared once, and `admin/components/table.html` renders every table:

COLUMNS = (
    Column[ModelCost]("Model", lambda row: row.model),
    Column[ModelCost]("Cost", lambda row: usd(row.cost_usd), is_number=True),
)
Table("Cost by model", COLUMNS, report.models, empty="No models were used.")
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.admin.components.urls import url_with
from costtrack.file_columns import ComputedColumn, FileLinks

R = TypeVar("R")
C = TypeVar("C")
M = TypeVar("M", bound=Model)


@dataclass(frozen=True)  # without slots, which `Column[Row](...)` does not allow
class Column(Generic[R]):
    """`cell` returns what a row shows: a text, or safe HTML. `order` is the column's value of `sort_by`; empty if the
    table is not sorted by it. `css` are further classes of its cells."""

    heading: str
    cell: Callable[[R], object]
    order: str = ""
    is_number: bool = False
    css: str = ""

    @property
    def classes(self) -> str:
        return f"{'ct-number' if self.is_number else ''} {self.css}".strip()

    @property
    def attribute(self) -> SafeString:
        """The HTML attribute of its cells."""
        return format_html(' class="{}"', self.classes) if self.classes else SafeString("")


@dataclass(frozen=True, slots=True)
class Sorting:
    """The order of a table's rows, in the URL as `sort_by` and `sort_order`. Selecting the current column reverses it;
    other columns start descending. The `default` order is omitted from URLs, to which `anchor` is added."""

    request: HttpRequest
    order: str
    default: str
    is_ascending: bool = False
    anchor: str = ""

    def url(self, order: str) -> str:
        reverses = order == self.order and not self.is_ascending
        changes = {"sort_by": "" if order == self.default else order, "sort_order": "asc" if reverses else ""}
        return f"{url_with(self.request, **changes)}{self.anchor}"

    @property
    def direction(self) -> str:
        """The value of `aria-sort`."""
        return "ascending" if self.is_ascending else "descending"


@dataclass(frozen=True)
class TableFile(Generic[R]):
    """The file of a table (`billing.admin.components.table_files`): exact values of all rows, also of those that the
    page does not show. `name` is that of the file."""

    name: str
    columns: Sequence[ComputedColumn]
    rows: Callable[[], Iterable[R]]
    links: FileLinks


@dataclass(frozen=True)
class Table(Generic[R]):
    """The first cell of a row is its heading. `foot` has rows of a label, which spans the other columns, and values.
    `empty` is shown if there are no rows, `note` below the table. `file` is its file, or the links to that of a list or
    report with the same rows."""

    title: str
    columns: Sequence[Column[R]]
    rows: Sequence[R] | QuerySet[Any]
    empty: object = ""
    note: object = ""
    foot: Sequence[Sequence[object]] = ()
    sorting: Sorting | None = None
    css: str = ""
    file: TableFile[Any] | FileLinks | None = None

    @property
    def file_links(self) -> FileLinks | None:
        return self.file.links if isinstance(self.file, TableFile) else self.file

    @property
    def headings(self) -> list[tuple[Column[R], str, str]]:
        """Each column with the URL that sorts by it and its `aria-sort`, or empty texts."""
        sorting = self.sorting
        return [
            (
                column,
                sorting.url(column.order) if sorting is not None and column.order else "",
                sorting.direction if sorting is not None and column.order and column.order == sorting.order else "",
            )
            for column in self.columns
        ]

    @cached_property
    def cells(self) -> list[list[tuple[Column[R], object]]]:
        return [[(column, column.cell(row)) for column in self.columns] for row in self.rows]

    @property
    def body(self) -> SafeString:
        """Render the rows, without the time that a template takes for each cell."""
        cells = [f"<td{column.attribute}>{{}}</td>" for column in self.columns]
        head = f'<th scope="row"{self.columns[0].attribute}>{{}}</th>'
        row = "".join(("<tr>", head, *cells[1:], "</tr>"))
        return format_html_join("\n", row, ([cell for _, cell in cells] for cells in self.cells))

    @property
    def foot_cells(self) -> list[dict[str, Any]]:
        width = len(self.columns)
        return [{"span": width + 1 - len(row), "label": row[0], "values": row[1:]} for row in self.foot]


def column(_model: type[M], heading: str, cell: Callable[[M], C], *, order: str = "") -> Callable[[Any, M], C]:
    """Return a column of a model admin's list whose cells fit in a line; others are methods with `admin.display`.
    `order` is the database column that the list can be sorted by."""

    @admin.display(description=heading, ordering=order or None)
    def show(_admin: Any, row: M) -> C:
        return cell(row)

    return show
