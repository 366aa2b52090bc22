"""Files of the tables of a page, at the page's own URL: `?table=<name>&format=csv`, with the page's filters.

Lists and reports with many rows have a page of their own for their file (`billing.admin.components.files`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from billing.admin.components.cards import Card
from billing.admin.components.files import format_of
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.tables import Table, TableFile
from billing.exports.jobs import MAX_DIRECT_ROWS
from billing.exports.table_files import FileTable, Part, file_response
from costtrack.errors import InvalidError, NotFoundError
from costtrack.file_columns import ComputedColumn, FileColumn, FileLinks, Kind
from costtrack.money import DECIMALS

R = TypeVar("R")
_TABLE = "table"
_OF_PAGES = (_TABLE, "after", "before", "page", "format")
"""Parameters of a page that do not choose the rows of its file."""


class TableFilesPage(OrganizationPage):
    """A page with tables that have a file (`Table.file`), also within cards."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        name = request.GET.get(_TABLE)
        return super().get(request, *args, **kwargs) if name is None else self._file(name)

    def table_file(self, name: str, columns: Sequence[ComputedColumn], rows: Callable[[], Iterable[R]]) -> TableFile[R]:
        """Return the file of a table of this page. `rows` reads all rows of the file when it is requested."""
        if (refusal := self.plan_rights.exports_refusal()) is not None:
            return TableFile(name, columns, rows, FileLinks(refused=refusal.message))
        query = self.request.GET.copy()
        for parameter in _OF_PAGES:
            query.pop(parameter, None)
        query[_TABLE] = name
        return TableFile(name, columns, rows, FileLinks.of(self.request.path, query.urlencode()))

    def _file(self, name: str) -> HttpResponseBase:
        self.plan_rights.check_exports()
        file = next((file for file in _files(self.page_context().values()) if file.name == name), None)
        if file is None:
            raise NotFoundError("This page has no such table, or nothing to show in it.")
        rows = [[_stored(column.value(row)) for column in file.columns] for row in file.rows()]
        if len(rows) > MAX_DIRECT_ROWS:
            raise InvalidError(f"The file would have more than {MAX_DIRECT_ROWS:,} rows. Choose a shorter period.")
        columns = [FileColumn(column.name, column.kind) for column in file.columns]
        zone = self.organization.calendar.zone
        table = FileTable(columns, lambda _: Part(rows, None), lambda limit: min(len(rows), limit), zone)
        file_name = f"{name}-{self.organization.slug}"
        return file_response(table, file_name, format_of(self.request), with_bom=True)


def _files(values: Iterable[Any]) -> Iterator[TableFile[Any]]:
    """Yield the files of the tables in a page's context."""
    for value in values:
        if isinstance(value, TableFile):
            yield value
        elif isinstance(value, Table) and value.file is not None:
            yield value.file
        elif isinstance(value, Card):
            yield from _files([value.table])
        elif isinstance(value, (list, tuple)):
            yield from _files(value)


def _stored(value: object) -> object:
    """Return a value as files have it: ratios have as many decimals as amounts."""
    if isinstance(value, float):
        return Decimal(str(value))
    return round(value, DECIMALS) if isinstance(value, Decimal) and -_exponent(value) > DECIMALS else value


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def computed(kind: Kind, /, **values: Callable[[Any], object]) -> tuple[ComputedColumn, ...]:
    """Return columns of a file by their names."""
    return tuple(ComputedColumn(name, kind, value) for name, value in values.items())


def all_pages(read: Callable[[Any], tuple[Sequence[R], Any]]) -> Iterator[R]:
    """Yield the rows of all pages, up to one more than a file may have. `read` returns the rows after a position, and
    the position after them; None at both ends."""
    count, position = 0, None
    while count <= MAX_DIRECT_ROWS:
        rows, position = read(position)
        yield from rows
        count += len(rows)
        if position is None:
            return
