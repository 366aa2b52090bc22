"""Tables as files: CSV that is safe to open in a spreadsheet, JSON, and Parquet.

Rows are read and written in chunks, so memory does not grow with their number. CSV and JSON are generated while they
are sent. The end of a Parquet file describes it, so it is written to a temporary file first.
"""

import csv
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from io import StringIO
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import Any
from uuid import UUID

import msgspec
from django.http import StreamingHttpResponse

from billing.exports.cells import text_cell
from costtrack.clock import iso
from costtrack.money import DECIMALS, plain
from costtrack.timeouts import is_query_timeout, log_canceled_query

_MAX_IN_MEMORY = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_PARQUET_DIGITS = 38
INCOMPLETE = "ERROR: this file is incomplete. Try again, or choose a shorter period."
"""The only cell of the last row of an incomplete CSV file."""

Row = Sequence[object]


class FileFormat(StrEnum):
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


CONTENT_TYPES = {
    FileFormat.CSV: "text/csv; charset=utf-8",
    FileFormat.JSON: "application/json",
    FileFormat.PARQUET: "application/vnd.apache.parquet",
}


class Kind(StrEnum):
    """The type of a column's values; any of them may be None. Amounts are US dollars."""

    TEXT = "text"
    COUNT = "count"
    AMOUNT = "amount"
    TIME = "time"
    BOOLEAN = "boolean"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class FileColumn:
    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class FileTable:
    """A table to write. `chunks` yields its rows, whose values are in the order of the columns."""

    columns: Sequence[FileColumn]
    chunks: Iterator[Sequence[Row]]


def columns_of(kind: Kind, *names: str) -> tuple[FileColumn, ...]:
    return tuple(FileColumn(name, kind) for name in names)


def file_response(
    table: FileTable, name: str, file_format: FileFormat, *, with_bom: bool = False
) -> StreamingHttpResponse:
    """Return a response that streams the file `name`, without its suffix. `with_bom` begins a CSV file with a byte
    order mark, without which Excel misreads UTF-8."""
    content = encode(table, file_format)
    if file_format is FileFormat.CSV and with_bom:
        content = chain([BOM_UTF8], content)
    return StreamingHttpResponse(
        content,
        content_type=CONTENT_TYPES[file_format],
        headers={"Content-Disposition": f'attachment; filename="{name}.{file_format}"'},
    )


def encode(table: FileTable, file_format: FileFormat) -> Iterator[bytes]:
    """Yield the file."""
    if file_format is FileFormat.CSV:
        return mark_if_incomplete(_csv(table))
    return _json(table) if file_format is FileFormat.JSON else _parquet(table)


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


def _csv(table: FileTable) -> Iterator[bytes]:
    cells = [_CSV_CELLS[column.kind] for column in table.columns]
    yield csv_lines([[column.name for column in table.columns]])
    for rows in table.chunks:
        yield csv_lines(
            [cell(value) if value is not None else "" for cell, value in zip(cells, row, strict=True)] for row in rows
        )


def _texts_cell(texts: Any) -> str:
    return text_cell(json.dumps(texts, ensure_ascii=False)) if texts else ""


_CSV_CELLS: dict[Kind, Callable[[Any], object]] = {
    Kind.TEXT: lambda text: text_cell(str(text)),
    Kind.COUNT: int,
    Kind.AMOUNT: plain,
    Kind.TIME: iso,
    Kind.BOOLEAN: lambda value: "true" if value else "false",
    Kind.TEXTS: _texts_cell,
}


def _json(table: FileTable) -> Iterator[bytes]:
    """Yield an array of objects. An incomplete one is no valid JSON."""
    names = [column.name for column in table.columns]
    separator = b"[\n"
    for rows in table.chunks:
        for row in rows:
            values = dict(zip(names, map(_json_value, row), strict=True))
            yield separator + msgspec.json.encode(values)
            separator = b",\n"
    yield b"\n]\n" if separator != b"[\n" else b"[]\n"


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    return plain(value) if hasattr(value, "as_tuple") else str(value) if isinstance(value, UUID) else value


def _parquet(table: FileTable) -> Iterator[bytes]:
    """Yield the file when it is complete."""
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        Kind.TEXT: pa.string(),
        Kind.COUNT: pa.int64(),
        Kind.AMOUNT: pa.decimal128(_PARQUET_DIGITS, DECIMALS),
        Kind.TIME: pa.timestamp("us", tz="UTC"),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TEXTS: pa.list_(pa.string()),
    }
    schema = pa.schema([(column.name, types[column.kind]) for column in table.columns])
    with closing(SpooledTemporaryFile(max_size=_MAX_IN_MEMORY)) as file:
        with parquet.ParquetWriter(file, schema) as writer:
            for rows in table.chunks:
                arrays = [
                    pa.array([_parquet_value(row[index]) for row in rows], field.type)
                    for index, field in enumerate(schema)
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
        file.seek(0)
        yield from iter(partial(file.read, _CHUNK_BYTES), b"")


def _parquet_value(value: Any) -> Any:
    return str(value) if isinstance(value, UUID | StrEnum) else value
