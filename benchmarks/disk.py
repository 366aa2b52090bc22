"""Total bytes on disk per event, compared with the binary size of the event's values.

The indexes of the rollups are packed before, as they are every month.

The values are the columns of the ledger that are not empty, zero or NULL, without the overhead of rows and indexes. A
uuid counts 16 bytes, a bigint or a time 8, an integer 4, a smallint 2, a text its bytes in UTF-8, a list of texts the
bytes of its elements, an amount the bytes that PostgreSQL stores without the length byte. The key and the payload hash
do not count, because they follow from the other values.
"""

import psycopg
from psycopg import sql

from benchmarks.bench import Bench
from benchmarks.report import Figure

BUDGET = 2.5
_SAMPLE = 200_000

_COLUMNS = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = 'billing_usageevent'::regclass AND attnum > 0 AND NOT attisdropped
"""
_SIZES = {
    "uuid": "CASE WHEN {0} IS NULL THEN 0 ELSE 16 END",
    "timestamp with time zone": "CASE WHEN {0} IS NULL THEN 0 ELSE 8 END",
    "bigint": "CASE WHEN coalesce({0}, 0) = 0 THEN 0 ELSE 8 END",
    "integer": "CASE WHEN coalesce({0}, 0) = 0 THEN 0 ELSE 4 END",
    "smallint": "CASE WHEN coalesce({0}, 0) = 0 THEN 0 ELSE 2 END",
    "numeric": "CASE WHEN coalesce({0}, 0) = 0 THEN 0 ELSE pg_column_size({0}) - 1 END",
    "character varying": "coalesce(octet_length({0}), 0)",
    "character varying[]": "coalesce(octet_length(array_to_string({0}, '')), 0)",
    "jsonb": "coalesce(pg_column_size({0}), 0)",
}
_LEAVES = "SELECT relid FROM pg_partition_tree('billing_usageevent') WHERE isleaf"
_HEAP = f"SELECT sum(pg_table_size(relid)) FROM ({_LEAVES}) AS leaf"  # noqa: S608 - our own text
_INDEXES = f"SELECT sum(pg_indexes_size(relid)) FROM ({_LEAVES}) AS leaf"  # noqa: S608
_TABLE = "SELECT pg_total_relation_size(%s)"


def run(bench: Bench) -> list[Figure]:
    from billing.rollups.definitions import ROLLUPS
    from billing.rollups.packing import pack_indexes

    bench.stack.use(bench.large)
    pack_indexes()
    with psycopg.connect(bench.stack.url(bench.large)) as connection:
        tables = ("billing_eventkey", "billing_ingestbatch", "billing_run")
        sizes = {
            "heap of the ledger": _number(connection, _HEAP),
            "indexes of the ledger": _number(connection, _INDEXES),
        }
        sizes |= {table: _number(connection, _TABLE, [table]) for table in tables}
        sizes |= {f"rollup {rollup.name}": _number(connection, _TABLE, [rollup.table]) for rollup in ROLLUPS}
        values = _number(connection, _values(connection, bench.events))
    events = bench.events
    name = "disk: bytes for an event, everything"
    total = [sum(sizes.values()) / events]
    return [
        Figure(name, "bytes", total, "its own values in binary", [values], BUDGET, lower_is_better=True),
        *(Figure(f"disk: {table_name}", "bytes", [size / events]) for table_name, size in sizes.items()),
    ]


def _values(connection: psycopg.Connection, events: int) -> sql.Composed:
    """Return a SELECT of the average size of a row's values, in a sample of about a hundred thousand rows."""
    columns = connection.execute(_COLUMNS).fetchall()
    column_sizes = [sql.SQL(_SIZES[kind]).format(sql.Identifier(name)) for name, kind in columns]
    share = sql.Literal(min(100.0, 100 * _SAMPLE / events))
    return sql.SQL("SELECT avg({}) FROM billing_usageevent TABLESAMPLE SYSTEM ({})").format(
        sql.SQL(" + ").join(column_sizes), share
    )


def _number(connection: psycopg.Connection, query: str | sql.Composed, parameters: list[str] | None = None) -> float:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return float(row[0])
