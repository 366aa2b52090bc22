"""Rebuild the indexes of rollups, which takes a third off their size.

Late events fall between the rows of earlier hours and split full pages of an index in half. Later events do not fill
these pages, so an index that was rebuilt stays dense for the periods that are over (docs/performance.md#disk).
"""

from django.db import connection
from psycopg import sql

from billing.rollups.definitions import ROLLUPS
from costtrack.database.queries import fetch_rows

MIN_BYTES = 8 * 1024 * 1024
"""Smaller indexes are left as they are."""

# An interrupted rebuild leaves an index that is not valid.
_INDEXES = """
SELECT class.relname, pg_relation_size(class.oid), entry.indisvalid
FROM pg_index AS entry JOIN pg_class AS class ON class.oid = entry.indexrelid
WHERE entry.indrelid = ANY (%(tables)s::text[]::regclass[])
ORDER BY class.relname
"""
_REBUILD = sql.SQL("REINDEX INDEX CONCURRENTLY {}")
_DROP = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}")


def pack_indexes(*, min_bytes: int = MIN_BYTES) -> int:
    """Rebuild the indexes of all rollups, one after the other, and return the freed bytes. Reads, intake and folds
    continue. Must not run in a transaction."""
    before = _indexes()
    with connection.cursor() as cursor:
        for name, size, is_valid in before:
            if not is_valid:
                cursor.execute(_DROP.format(sql.Identifier(name)))
            elif size >= min_bytes:
                cursor.execute(_REBUILD.format(sql.Identifier(name)))
    return sum(size for _, size, _ in before) - sum(size for _, size, _ in _indexes())


def _indexes() -> list[tuple[str, int, bool]]:
    rows = fetch_rows(_INDEXES, {"tables": [rollup.table for rollup in ROLLUPS]})
    return [(name, size, is_valid) for name, size, is_valid in rows]
