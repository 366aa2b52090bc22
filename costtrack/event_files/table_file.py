"""Reads tables row by row, in bounded memory: CSV with a header, and Parquet."""

import csv
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from costtrack.event_files.types import FileError, Row

_HEAD = 1 << 16
_DELIMITERS = (",", ";", "\t", "|")
_MAX_COLUMNS = 500
_PARQUET_ROWS = 1_000
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
NO_PYARROW = "is Parquet, which needs another package: pip install 'costtrack[parquet]'"


def csv_columns(file: BinaryIO) -> list[str]:
    """Return the names in the header of a CSV file, empty if there is none. Raises FileError."""
    file.seek(0)
    text = _text(file)
    try:
        reader = csv.reader(text, delimiter=_delimiter(text))
        return [name.strip() for name in next(reader, [])][:_MAX_COLUMNS]
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileError(f"is not CSV in UTF-8: {error}") from error
    finally:
        text.detach()


def csv_rows(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows after the header, without empty ones. A row has `None` as a column if it is longer than the
    header. Raises FileError with the line."""
    file.seek(0)
    text = _text(file)
    line = 1
    try:
        reader = csv.reader(text, delimiter=_delimiter(text))
        header = [name.strip() for name in next(reader, [])]
        line = reader.line_num + 1
        for cells in reader:
            if any(cells):
                values: dict[Any, Any] = dict(zip(header, cells, strict=False))
                if any(cells[len(header) :]):
                    values[None] = cells[len(header) :]
                yield Row(f"line {line}", values)
            line = reader.line_num + 1
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileError(f"cannot be read at line {line}: {error}") from error
    finally:
        text.detach()


def _text(file: BinaryIO) -> io.TextIOWrapper:
    encoding = "utf-16" if file.read(2) in _UTF16_MARKS else "utf-8-sig"
    file.seek(0)
    return io.TextIOWrapper(file, encoding=encoding, newline="")


def _delimiter(text: io.TextIOWrapper) -> str:
    """Return the delimiter that the header has most often."""
    head = text.read(_HEAD).partition("\n")[0]
    text.seek(0)
    return max(_DELIMITERS, key=head.count)


def parquet_columns(file: BinaryIO) -> list[str]:
    """Return the names of the columns. Raises FileError."""
    return [str(name) for name in _parquet(file).schema_arrow.names][:_MAX_COLUMNS]


def parquet_rows(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows, counted from 1. Raises FileError."""
    import pyarrow as pa

    number = 0
    try:
        for batch in _parquet(file).iter_batches(batch_size=_PARQUET_ROWS):
            for values in _in_microseconds(batch).to_pylist():
                number += 1
                yield Row(f"row {number}", values)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise FileError(f"cannot be read after row {number}: {error}") from error


def parquet_size(file: BinaryIO) -> tuple[int, int]:
    """Return the number of rows and of bytes that a Parquet file says it has when inflated. Raises FileError."""
    metadata = _parquet(file).metadata
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    return metadata.num_rows, sum(group.total_byte_size for group in groups)


def _parquet(file: BinaryIO) -> Any:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise FileError(NO_PYARROW) from error
    file.seek(0)
    try:
        return parquet.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileError(f"is not a valid Parquet file: {error}") from error


def _in_microseconds(batch: Any) -> Any:
    """Return a batch whose times Python can hold."""
    import pyarrow as pa

    for index, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            micros = batch.column(index).cast(pa.timestamp("us", tz=field.type.tz), safe=False)
            batch = batch.set_column(index, field.name, micros)
    return batch
