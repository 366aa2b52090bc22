"""Files of the tables of a page, at the page's own URL: `?table=<name>&format=csv`, with the page's filters.

Lists and reports with many rows have a page of their own for their file (`billing.admin.components.files`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import urlencode

from billing.admin.components.cards import Card
from billing.admin.components.files import format_of
from billing.admin.components.organization_page import OrganizationPage
from billing.admin.components.tables import Table, TableFile
from billing.admin.components.urls import admin_url
from billing.exports.export_jobs import MAX_DIRECT_ROWS
from billing.exports.table_files import FileTable, Part, file_response
from costtrack.errors import InvalidError, NotFoundError
from costtrack.file_columns import ComputedColumn, FileColumn, FileLinks, Kind
from costtrack.money import DECIMALS
from organizations.admin_request import chosen_organization, request_user
from organizations.models import Organization
from organizations.plan_rights import PlanRights

R = TypeVar("R")
_TABLE = "table"
_OF_PAGES = (_TABLE, "after", "before", "page", "format")
"""Parameters of a page that do not choose the rows of its file."""


def list_links(request: HttpRequest, organization: Organization, name: str, **filters: str | int) -> FileLinks:
    """Return the links to the file of a list (`billing.exports.list_files`), with filters as in its URL."""
    if (refusal := _rights(request, organization).exports_refusal()) is not None:
        return FileLinks(refused=refusal.message)
    return FileLinks.of(admin_url("list_file", name), urlencode(filters))


def _rights(request: HttpRequest, organization: Organization) -> PlanRights:
    """Return the rights of the plan. It is loaded with the organization of a page, but maybe not with that of a row."""
    return PlanRights(chosen_organization(request) or organization, request_user(request).is_superuser)


def is_file_request(request: HttpRequest) -> bool:
    """Whether a file of one of its tables is requested instead of the page."""
    return _TABLE in request.GET


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of the tables of a page (`Table.file`), also of those in cards."""

    request: HttpRequest
    organization: Organization

    def file(self, name: str, columns: Sequence[ComputedColumn], rows: Callable[[], Iterable[R]]) -> TableFile[R]:
        """Return the file of a table. `rows` reads all rows of the file when it is requested."""
        if (refusal := self._rights.exports_refusal()) is not None:
            return TableFile(name, columns, rows, FileLinks(refused=refusal.message))
        query = self.request.GET.copy()
        for parameter in _OF_PAGES:
            query.pop(parameter, None)
        query[_TABLE] = name
        return TableFile(name, columns, rows, FileLinks.of(self.request.path, query.urlencode()))

    def response(self, content: Iterable[Any]) -> HttpResponseBase:
        """Return the requested file of a table in the content of the page."""
        self._rights.check_exports()
        name = self.request.GET[_TABLE]
        file = next((file for file in _files(content) if file.name == name), None)
        if file is None:
            raise NotFoundError("This page has no such table, or nothing to show in it.")
        rows = [[_stored(column.kind, column.value(row)) for column in file.columns] for row in file.rows()]
        if len(rows) > MAX_DIRECT_ROWS:
            raise InvalidError(f"The file would have more than {MAX_DIRECT_ROWS:,} rows. Choose a shorter period.")
        columns = [FileColumn(column.name, column.kind) for column in file.columns]
        zone = self.organization.calendar.zone
        table = FileTable(columns, lambda _: Part(rows, None), lambda limit: min(len(rows), limit), zone)
        return file_response(table, f"{name}-{self.organization.slug}", format_of(self.request), with_bom=True)

    @property
    def _rights(self) -> PlanRights:
        return _rights(self.request, self.organization)


class TableFilesPage(OrganizationPage):
    """A page whose tables have files."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if is_file_request(request):
            return self.files_of_tables.response(self.page_context().values())
        return super().get(request, *args, **kwargs)

    @property
    def files_of_tables(self) -> TableFiles:
        return TableFiles(self.request, self.organization)

    def table_file(self, name: str, columns: Sequence[ComputedColumn], rows: Callable[[], Iterable[R]]) -> TableFile[R]:
        """Return the file of a table of this page. `rows` reads all rows of the file when it is requested."""
        return self.files_of_tables.file(name, columns, rows)


def _files(values: Iterable[Any]) -> Iterator[TableFile[Any]]:
    """Yield the files of the tables in the content of a page."""
    for value in values:
        if isinstance(value, TableFile):
            yield value
        elif isinstance(value, Table) and isinstance(value.file, TableFile):
            yield value.file
        elif isinstance(value, Card):
            yield from _files([value.table])
        elif isinstance(value, (list, tuple)):
            yield from _files(value)


def _stored(kind: Kind, value: object) -> object:
    """Return a value as files have it: ratios have as many decimals as amounts, and days, ids and choices are texts."""
    if kind is Kind.TEXT and value is not None:
        return str(value)
    if isinstance(value, float):
        return Decimal(str(value))
    return round(value, DECIMALS) if isinstance(value, Decimal) and -_exponent(value) > DECIMALS else value


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


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
