"""The statement of a month as a file. The rows are the lines of the page, with the same figures."""

from datetime import date, datetime
from enum import StrEnum

import msgspec
from django.conf import settings
from django.http import StreamingHttpResponse

from billing.exports.table_files import FileTable, Part, Row, columns_of, download_headers, file_response
from billing.reports.statements.months import month_of
from billing.reports.statements.statement import (
    StatementLine,
    StatementQuery,
    count_lines,
    decode_cursor,
    encode_cursor,
    statement_lines,
)
from billing.reports.usage.figures import DIMENSION_OF, GroupBy, UsageFilter
from costtrack.file_columns import FileColumn, FileFormat, Kind
from costtrack.tenancy import tenant_scope
from costtrack.timeouts import statement_timeout
from organizations.models import Organization, User
from organizations.permissions import USAGE, Resource

_FIGURES = ("requests", "input_tokens", "cache_read_tokens", "cache_creation_tokens", "output_tokens")
PDF_CONTENT_TYPE = "application/pdf"


class StatementFormat(StrEnum):
    """The formats of all files, and PDF."""

    CSV = FileFormat.CSV.value
    JSON = FileFormat.JSON.value
    PARQUET = FileFormat.PARQUET.value
    PDF = "pdf"


class StatementFile(msgspec.Struct, frozen=True, tag="statement", kw_only=True):
    """The lines of the statement of the month that begins on `month`."""

    month: date
    by: GroupBy | None = None
    filters: UsageFilter = UsageFilter()

    @classmethod
    def of(cls, query: StatementQuery) -> "StatementFile":
        return cls(month=query.month.month, by=query.by, filters=query.filters)

    @property
    def resource(self) -> Resource:
        return USAGE

    @property
    def title(self) -> str:
        return f"Statement of {self.month:%B %Y}"

    def table(self, organization: Organization, user: User | None = None) -> FileTable:
        """Return the lines in their order. An unknown cost is empty. Reading raises InvalidError if there are too many
        events to read, ConflictError if some were dropped."""
        query = StatementQuery(organization, month_of(organization, self.month), self.by, self.filters)

        def read(position: str) -> Part:
            with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
                lines, after = statement_lines(query, after=decode_cursor(position))
            return Part([_row(query, line) for line in lines], encode_cursor(after))

        def count(limit: int) -> int:
            with statement_timeout(settings.EXPORT_STATEMENT_TIMEOUT), tenant_scope(organization.pk):
                return count_lines(query, limit)

        return FileTable(_columns(query), read, count, reads_first=True)

    def file_name(self, organization: Organization) -> str:
        by = f"-{self.by.value}" if self.by is not None else ""
        return f"statement-{organization.slug}-{self.month:%Y-%m}{by}"


def statement_response(
    query: StatementQuery, file_format: StatementFormat, *, now: datetime, with_bom: bool = False
) -> StreamingHttpResponse:
    """Return a response that streams the lines, or the document. Raises InvalidError if there are too many lines for a
    document or too many events to read, ConflictError if some were dropped."""
    file, organization = StatementFile.of(query), query.organization
    name = file.file_name(organization)
    if file_format is StatementFormat.PDF:
        from billing.exports.statement_pdf import statement_pdf  # ReportLab takes a moment and 20 MB to load

        document = statement_pdf(query, now)
        return StreamingHttpResponse([document], content_type=PDF_CONTENT_TYPE, headers=download_headers(f"{name}.pdf"))
    return file_response(file.table(organization), name, FileFormat(file_format), with_bom=with_bom)


def _columns(query: StatementQuery) -> tuple[FileColumn, ...]:
    key = columns_of(Kind.TEXT, DIMENSION_OF[query.by].parameter) if query.by is not None else ()
    credential = columns_of(Kind.TEXT, "credential_name") if query.by is GroupBy.CREDENTIAL else ()
    model = columns_of(Kind.TEXT, "model") if query.has_models else ()
    return (
        *columns_of(Kind.TEXT, "month", "section", "corrected_month"),
        *(*key, *credential, *model),
        *columns_of(Kind.COUNT, *_FIGURES),
        *columns_of(Kind.AMOUNT, "cost_usd"),
        *columns_of(Kind.COUNT, "unpriced_events"),
    )


def _row(query: StatementQuery, line: StatementLine) -> Row:
    section, corrected_month, key, model = line.of
    return (
        *(query.month.name, section.name.lower(), f"{corrected_month:%Y-%m}" if corrected_month else ""),
        *((key,) if query.by is not None else ()),
        *((line.name,) if query.by is GroupBy.CREDENTIAL else ()),
        *((model,) if query.has_models else ()),
        *(getattr(line.figures, name) for name in _FIGURES),
        *(line.figures.known_cost_usd, line.figures.unpriced_events),
    )
