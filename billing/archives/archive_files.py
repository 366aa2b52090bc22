"""Write the rows of a partition of the ledger to a Parquet file, and compare a file with them.

Rows are read in groups, so memory does not grow with their number. Sorted by time, ids and times are stored as small
differences, and the other columns repeat themselves: a dictionary and zstd store them in a few bytes. The same rows
always make the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any

from django.db import connection
from psycopg import sql

from billing.archives.archive_schema import ORDER, array_of, columns, json_columns, schema, version_of
from billing.models.ledger import COST_SQL
from costtrack.database.queries import fetch_rows
from costtrack.errors import ConflictError
from costtrack.money import ZERO

ROWS_PER_GROUP = 50_000
_ROWS_PER_FETCH = 5_000
_ZSTD_LEVEL = 15
_ENCODINGS = {
    "id": "DELTA_BYTE_ARRAY",
    "occurred_at": "DELTA_BINARY_PACKED",
    "received_at": "DELTA_BINARY_PACKED",
}
"""The columns that are not stored with a dictionary."""

_ROWS = sql.SQL("SELECT {columns} FROM {table} AS event WHERE organization_id = %s ORDER BY {order}")
_SUMS = sql.SQL(
    "SELECT count(*), coalesce(sum(requests), 0)::bigint, coalesce(sum(unpriced), 0)::bigint,"
    " coalesce(sum({cost}), 0), min(occurred_at), max(occurred_at) FROM {table} AS event WHERE organization_id = %s"
)


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of the rows of a file, which the manifest has."""

    events: int
    requests: int
    unpriced: int
    cost_usd: Decimal
    first_occurred_at: datetime | None
    last_occurred_at: datetime | None

    def as_json(self) -> dict[str, str | int | None]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value if isinstance(value, int | None) else str(value) for name, value in values.items()}


def write_rows(path: Path, table: str, organization_id: int) -> int:
    """Write an organization's rows of a table, which has the columns of the ledger. Returns their number; without rows
    there is no file. Runs in the caller's transaction."""
    from pyarrow import parquet

    rows, writer = 0, None
    for group in _groups(table, organization_id):
        writer = writer or open_writer(path)
        writer.write_table(group, row_group_size=ROWS_PER_GROUP)
        rows += group.num_rows
    if writer is not None:
        writer.close()
        rows_in_file = parquet.ParquetFile(path).metadata.num_rows
        if rows_in_file != rows:
            raise ConflictError(f"The file has {rows_in_file} rows instead of {rows}.")
    return rows


def open_writer(path: Path) -> Any:
    """Return pyarrow's writer of a file of archived events."""
    from pyarrow import parquet

    return parquet.ParquetWriter(
        path,
        schema(),
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=[name for name in columns() if name not in _ENCODINGS],
        column_encoding=_ENCODINGS,
        version="2.6",
        data_page_version="2.0",
    )


def is_same(path: Path, table: str, organization_id: int) -> bool:
    """Whether a file has exactly the organization's rows of a table: every value of every column."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        if not file.schema_arrow.equals(schema()) or version_of(file.schema_arrow) != version_of(schema()):
            return False
        stored = (file.read_row_group(number) for number in range(file.num_row_groups))
        pairs = zip_longest(stored, _groups(table, organization_id))
        return all(mine is not None and theirs is not None and mine.equals(theirs) for mine, theirs in pairs)


def sums_of(table: str, organization_id: int) -> Sums:
    """Return the sums of an organization's rows of a table."""
    statement = _SUMS.format(cost=sql.SQL(COST_SQL), table=sql.Identifier(table))
    [row] = fetch_rows(statement, [organization_id])
    return Sums(*row)


def sums_of_file(path: Path) -> Sums:
    """Return the sums of the rows of a file, added up exactly."""
    from pyarrow import compute, parquet

    def total(column: str) -> Any:
        return compute.sum(rows[column]).as_py() or 0

    with parquet.ParquetFile(path) as file:
        rows = file.read(columns=["requests", "unpriced", "token_cost_usd", "compute_cost_usd", "occurred_at"])
    cost = Decimal(total("token_cost_usd")) + Decimal(total("compute_cost_usd")) + ZERO
    times = compute.min_max(rows["occurred_at"]).as_py()
    return Sums(rows.num_rows, total("requests"), total("unpriced"), cost, times["min"], times["max"])


def _groups(table: str, organization_id: int) -> Iterator[Any]:
    """Yield the rows as pyarrow's tables, one for each row group."""
    import pyarrow as pa

    batches: list[Any] = []
    for batch in _batches(table, organization_id):
        batches.append(batch)
        if sum(batch.num_rows for batch in batches) >= ROWS_PER_GROUP:
            yield pa.Table.from_batches(batches)
            batches = []
    if batches:
        yield pa.Table.from_batches(batches)


def _batches(table: str, organization_id: int) -> Iterator[Any]:
    import pyarrow as pa

    as_text = json_columns()
    selected = [
        sql.SQL("{}::text" if name in as_text else "{}").format(sql.Identifier("event", name)) for name in columns()
    ]
    statement = _ROWS.format(
        columns=sql.SQL(", ").join(selected),
        table=sql.Identifier(table),
        order=sql.SQL(", ").join(map(sql.Identifier, ORDER)),
    )
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, [organization_id])
        while rows := cursor.fetchmany(_ROWS_PER_FETCH):
            values = zip(*rows, strict=True)
            arrays = [array_of(column, field.type) for column, field in zip(values, schema(), strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema())
