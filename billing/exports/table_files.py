"""Tables as files: CSV that is safe to open in a spreadsheet, JSON, and Parquet.

Rows are read and written in parts, so memory does not grow with their number. CSV and JSON are generated while they
are sent. The end of a Parquet file describes it, so it is written to a temporary file first. Times are in the time
zone of the table.
"""

import csv
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from functools import partial
from io import StringIO
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
from django.http import StreamingHttpResponse

from billing.exports.cells import text_cell
from costtrack.calendar import Span
from costtrack.clock import MICROSECOND, iso
from costtrack.file_columns import FileColumn, FileFormat, Kind
from costtrack.money import DECIMALS, plain
from costtrack.timeouts import is_query_timeout, log_canceled_query
from organizations.models import Organization, User
from organizations.permissions import Resource

_MAX_IN_MEMORY = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_PARQUET_DIGITS = 38
INCOMPLETE = "ERROR: this file is incomplete. Try again, or choose a shorter period."
"""The only cell of the last row of an incomplete CSV file."""

Row = Sequence[object]


CONTENT_TYPES = {
    FileFormat.CSV: "text/csv; charset=utf-8",
    FileFormat.JSON: "application/json",
    FileFormat.PARQUET: "application/vnd.apache.parquet",
}


class Part(NamedTuple):
    """Consecutive rows of a table, and the position after them; None after the last row."""

    rows: Sequence[Row]
    position: str | None


@dataclass(frozen=True, slots=True)
class FileTable:
    """A table to write. `read` returns the rows after a position (empty: the first ones), whose values are in the order
    of the columns. `count` returns the number of rows, up to a limit."""

    columns: Sequence[FileColumn]
    read: Callable[[str], Part]
    count: Callable[[int], int]
    zone: tzinfo = UTC
    reads_first: bool = False
    """The first rows are read before the file begins, so that a refusal has a response of its own."""
    count_events: Callable[[int], int] | None = None
    """Returns the number of events that are read, up to a limit, if that of the rows is not known before."""

    def exceeds(self, rows: int) -> bool:
        """Whether it has more rows or, if their number is not known, reads more events."""
        return (self.count_events or self.count)(rows + 1) > rows

    def parts(self) -> Iterator[Sequence[Row]]:
        """Return all rows."""
        return self._parts(self.read("") if self.reads_first else None)

    def _parts(self, first: Part | None) -> Iterator[Sequence[Row]]:
        part = self.read("") if first is None else first
        yield part.rows
        while part.position is not None:
            part = self.read(part.position)
            yield part.rows


class FileQuery(Protocol):
    """What a file has: filters, a window and an order, as JSON in an export (`billing.exports.file_queries`)."""

    @property
    def resource(self) -> Resource:
        """What the rows are, and so who may read them."""

    @property
    def title(self) -> str:
        """A few words for people, such as `Requests`."""

    def table(self, organization: Organization, user: User) -> FileTable:
        """Raises DomainError if there is too much to read. `user` is who requests the file."""

    def file_name(self, organization: Organization) -> str:
        """Return a name without a suffix."""


def columns_of(kind: Kind, *names: str) -> tuple[FileColumn, ...]:
    return tuple(FileColumn(name, kind) for name in names)


def dated_name(rows: str, organization: Organization, window: Span) -> str:
    """Return a file name without its suffix, such as `usage-requests-acme-2026-10-04-2026-11-02`."""
    calendar = organization.calendar
    first, last = calendar.date_of(window.start), calendar.date_of(window.end - MICROSECOND)
    return f"usage-{rows}-{organization.slug}-{first}-{last}"


def file_response(
    table: FileTable, name: str, file_format: FileFormat, *, with_bom: bool = False
) -> StreamingHttpResponse:
    """Return a response that streams the file of a table (`streamed`)."""
    content = encode(table.columns, table.parts(), file_format, zone=table.zone)
    return streamed(content, name, file_format, with_bom=with_bom)


def streamed(content: Iterator[bytes], name: str, file_format: FileFormat, *, with_bom: bool) -> StreamingHttpResponse:
    """Return a response that streams the file `name`, without its suffix. `with_bom` begins a CSV file with a byte
    order mark, without which Excel misreads UTF-8."""
    if file_format is FileFormat.CSV and with_bom:
        content = chain([BOM_UTF8], content)
    return StreamingHttpResponse(
        content,
        content_type=CONTENT_TYPES[file_format],
        headers=download_headers(f"{name}.{file_format}"),
    )


def download_headers(name: str) -> dict[str, str]:
    """Return the headers of a file that browsers save under a name."""
    return {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}


def encode(
    columns: Sequence[FileColumn], parts: Iterator[Sequence[Row]], file_format: FileFormat, *, zone: tzinfo
) -> Iterator[bytes]:
    """Yield the file."""
    if file_format is FileFormat.CSV:
        return mark_if_incomplete(_csv(columns, parts, zone))
    return (_json if file_format is FileFormat.JSON else _parquet)(columns, parts, zone)


def csv_lines(rows: Iterable[Row]) -> bytes:
    """Return rows of cells as lines of a CSV file."""
    text = StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def mark_if_incomplete(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Append an error row if reading fails, because the client cannot distinguish a truncated response from a complete
    one."""
    try:
        yield from chunks
    except Exception as error:
        yield csv_lines([[INCOMPLETE]])
        if not is_query_timeout(error):
            raise
        log_canceled_query(export="usage.csv")


def local_iso(instant: datetime, zone: tzinfo) -> str:
    """Format a time in a zone; in UTC it ends with `Z`."""
    return iso(instant) if str(zone) == str(UTC) else instant.astimezone(zone).isoformat()


def _csv(columns: Sequence[FileColumn], parts: Iterator[Sequence[Row]], zone: tzinfo) -> Iterator[bytes]:
    to_cell: dict[Kind, Callable[[Any], object]] = {**_CSV_CELLS, Kind.TIME: partial(local_iso, zone=zone)}
    cells = [to_cell[column.kind] for column in columns]
    yield csv_lines([[column.name for column in columns]])
    for rows in parts:
        yield csv_lines(
            [cell(value) if value is not None else "" for cell, value in zip(cells, row, strict=True)] for row in rows
        )


def _texts_cell(texts: Any) -> str:
    return text_cell(json.dumps(texts, ensure_ascii=False)) if texts else ""


def _decimal_cell(value: Decimal) -> str:
    text = plain(value)
    return text if "." in text else f"{text}.0"


_CSV_CELLS: dict[Kind, Callable[[Any], object]] = {
    Kind.TEXT: lambda text: text_cell(str(text)),
    Kind.COUNT: int,
    Kind.AMOUNT: plain,
    Kind.DECIMAL: _decimal_cell,
    Kind.BOOLEAN: lambda value: "true" if value else "false",
    Kind.TEXTS: _texts_cell,
}


def json_lines(columns: Sequence[FileColumn], parts: Iterator[Sequence[Row]], zone: tzinfo) -> Iterator[bytes]:
    """Yield an object on each line."""
    names = [column.name for column in columns]
    for rows in parts:
        for row in rows:
            values = dict(zip(names, (_json_value(value, zone) for value in row), strict=True))
            yield msgspec.json.encode(values) + b"\n"


def _json(columns: Sequence[FileColumn], parts: Iterator[Sequence[Row]], zone: tzinfo) -> Iterator[bytes]:
    """Yield an array of objects. An incomplete one is no valid JSON."""
    separator = b"[\n"
    for line in json_lines(columns, parts, zone):
        yield separator + line[:-1]
        separator = b",\n"
    yield b"\n]\n" if separator != b"[\n" else b"[]\n"


def _json_value(value: Any, zone: tzinfo) -> Any:
    if isinstance(value, datetime):
        return local_iso(value, zone)
    return plain(value) if hasattr(value, "as_tuple") else str(value) if isinstance(value, UUID) else value


def _parquet(columns: Sequence[FileColumn], parts: Iterator[Sequence[Row]], zone: tzinfo) -> Iterator[bytes]:
    """Yield the file when it is complete."""
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        Kind.TEXT: pa.string(),
        Kind.COUNT: pa.int64(),
        Kind.AMOUNT: pa.decimal128(_PARQUET_DIGITS, DECIMALS),
        Kind.DECIMAL: pa.decimal128(_PARQUET_DIGITS, DECIMALS),
        Kind.TIME: pa.timestamp("us", tz=str(zone)),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TEXTS: pa.list_(pa.string()),
    }
    schema = pa.schema([(column.name, types[column.kind]) for column in columns])
    with closing(SpooledTemporaryFile(max_size=_MAX_IN_MEMORY)) as file:
        with parquet.ParquetWriter(file, schema) as writer:
            for rows in filter(None, parts):
                arrays = [
                    pa.array([_parquet_value(row[index]) for row in rows], field.type)
                    for index, field in enumerate(schema)
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        file.seek(0)
        yield from iter(partial(file.read, _CHUNK_BYTES), b"")


def _parquet_value(value: Any) -> Any:
    return str(value) if isinstance(value, UUID | StrEnum) else value
