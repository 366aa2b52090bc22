"""The records of an uploaded file as they are stored until the import. Pure.

Text that may be content is not stored: of JSON events, the values of unknown fields are dropped, so that these records
are still refused for them.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from billing.ingest.types import UsageEventInput
from costtrack.event_files import EventFile, Record
from costtrack.event_files.columns import Column, map_columns, row_event
from costtrack.event_files.types import Row, RowError, iso

RECORDS_PER_CHUNK = 1_000
# Chunks are smaller if their records are large, so that a step is short.
_MAX_CHUNK_BYTES = 1_000_000
_FIELDS = frozenset(UsageEventInput.__struct_fields__)


class StoredRecord(msgspec.Struct, array_like=True):
    """A record: its event as JSON, or the cells of its row, or why it cannot be read."""

    location: str
    json: str = ""
    cells: dict[str, Any] | None = None
    fault: str = ""
    field: str = ""

    def record(self, columns: Sequence[Column]) -> Record:
        """Return the record, with the columns of its row as these fields."""
        if self.fault:
            return Record(self.location, fault=self.fault, field=self.field)
        if self.cells is None:
            return Record(self.location, self.json.encode())
        try:
            return row_event(Row(self.location, self.cells), columns)
        except RowError as error:
            return Record(self.location, fault=str(error), field=error.field)


_decoder = msgspec.json.Decoder(list[StoredRecord])


def stored_records(file: EventFile) -> Iterator[StoredRecord]:
    """Yield the records of a file. Raises FileError."""
    if file.format.has_columns:
        for row in file.rows():
            if None in row.values:
                yield StoredRecord(row.location, fault="The row has more cells than the header.")
            else:
                yield StoredRecord(row.location, cells={name: _cell(cell) for name, cell in row.values.items()})
        return
    for record in file.records():
        text = "" if record.fault else _without_content(record.json).decode(errors="replace")
        yield StoredRecord(record.location, text, None, record.fault, record.field)


def chunks(records: Iterable[StoredRecord]) -> Iterator[tuple[int, bytes]]:
    """Yield the content of chunks, each with its number of records."""
    records = iter(records)
    while batch := list(_batch(records)):
        yield len(batch), zlib.compress(msgspec.json.encode(batch), 6)


def _batch(records: Iterator[StoredRecord]) -> Iterator[StoredRecord]:
    size = 0
    for record in islice(records, RECORDS_PER_CHUNK):
        yield record
        size += len(record.json) + sum(len(str(cell)) for cell in (record.cells or {}).values())
        if size > _MAX_CHUNK_BYTES:
            return


def unpack(content: bytes) -> list[StoredRecord]:
    return _decoder.decode(zlib.decompress(content))


def mapped_columns(column_names: Iterable[str], mapping: Mapping[str, str]) -> list[Column]:
    return map_columns(column_names, mapping)


def _without_content(event: bytes) -> bytes:
    try:
        fields = json.loads(event, parse_float=Decimal)
    except (ValueError, RecursionError):
        return b"{" if event.strip() else b""  # refused as invalid JSON, without its text
    if not isinstance(fields, dict) or fields.keys() <= _FIELDS:
        return event if isinstance(fields, dict) else b"0"
    known = {name: value if name in _FIELDS else None for name, value in fields.items()}
    return msgspec.json.encode(known)


def _cell(cell: Any) -> Any:
    """Return a cell as JSON has it, such that it is read as the same value."""
    if isinstance(cell, str | int | float | bool | None):
        return cell
    if isinstance(cell, datetime):
        return iso(cell)
    if isinstance(cell, dict):
        return {str(name): _cell(value) for name, value in cell.items()}
    if isinstance(cell, list | tuple):
        return [_cell(value) for value in cell]
    return str(cell)
