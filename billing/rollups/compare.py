"""Comparison of a chunk of a rollup with the ledger.

Each statement sees one snapshot, takes no lock on the ledger, and ignores unfolded events, so it is correct while
intake continues. Archived rows are ignored, because their events were dropped.
"""

from typing import Any

from psycopg import sql

from billing.rollups.chunks import Chunk
from billing.rollups.definitions import Rollup
from billing.rollups.sql import (
    ADDED,
    EVENTS,
    IS_FOLDED,
    REMOVED,
    aggregate_query,
    column_list,
    column_types,
    key_columns,
    key_count_changes,
    measure_columns,
    returning_keys,
)
from billing.rollups.state import named_changes
from billing.rollups.types import Difference

# Enough for the aggregates of a chunk.
WORK_MEMORY = "SET LOCAL work_mem = '64MB'"

_COMPARISON = sql.SQL("""
FROM (SELECT * FROM {table} WHERE organization_id = %(organization)s AND NOT archived AND {rows}) AS stored
FULL JOIN ({expected}) AS expected USING ({keys})
WHERE ROW({stored_measures}) IS DISTINCT FROM ROW({expected_measures})
""")
_DIFFERENCES = sql.SQL("""
SELECT count(*) OVER (), ARRAY[{key_texts}],
    CASE WHEN stored.organization_id IS NOT NULL THEN ARRAY[{stored_texts}] END,
    CASE WHEN expected.organization_id IS NOT NULL THEN ARRAY[{expected_texts}] END
{comparison} ORDER BY {keys} LIMIT %(limit)s
""")
# The removed and the written rows are disjoint, so their order does not matter.
_WRITE_DIFFERENCES = sql.SQL("""
WITH wrong AS MATERIALIZED (
    SELECT {keys}, {expected_measures}, expected.organization_id IS NULL AS is_superfluous {comparison}
), removed AS (
    DELETE FROM {table} AS stored USING wrong WHERE wrong.is_superfluous AND {same_key}{removed_keys}
), written AS (
    INSERT INTO {table} AS stored ({columns}) SELECT {columns} FROM wrong WHERE NOT is_superfluous ORDER BY {keys}
    ON CONFLICT ({keys}) DO UPDATE SET {replaced}{written_keys}
)
SELECT {results}
""")
_CHANGED = sql.SQL("(SELECT * FROM removed UNION ALL SELECT * FROM written)")


def differences(
    cursor: Any, rollup: Rollup, organization_id: int, chunk: Chunk, limit: int
) -> tuple[int, list[Difference]]:
    """Return the number of rows that differ from the ledger, and the first of them."""
    keys, measures = key_columns(rollup)[1:-1], measure_columns(rollup)
    types = column_types(rollup)
    query = _DIFFERENCES.format(
        key_texts=_list(sql.SQL("{}::text"), keys),
        stored_texts=_list(sql.SQL("stored.{}::text"), measures),
        expected_texts=sql.SQL(", ").join(
            sql.SQL("expected.{}::{}::text").format(sql.Identifier(name), sql.SQL(types[name])) for name in measures
        ),
        keys=column_list(keys),
        comparison=_comparison(rollup, chunk),
    )
    cursor.execute(query, {"organization": organization_id, "limit": limit, **chunk.parameters})
    rows = cursor.fetchall()
    first = [
        _difference(rollup, dict(zip(keys, key, strict=True)), _named(measures, stored), _named(measures, expected))
        for _, key, stored, expected in rows
    ]
    return (rows[0][0] if rows else 0), first


def write_differences(
    cursor: Any, rollup: Rollup, organization_id: int, chunk: Chunk, *conditions: sql.Composable
) -> tuple[int, dict[str, int]]:
    """Correct the rows that differ; return their number, and the changes of counts for `bump_ledger_version`.

    The caller holds the lock on the rollups (`billing.rollups.locks`). Events that do not meet the conditions count as
    removed.
    """
    keys, measures = key_columns(rollup), measure_columns(rollup)
    query = _WRITE_DIFFERENCES.format(
        table=sql.Identifier(rollup.table),
        keys=column_list(keys),
        columns=column_list([*keys, *measures]),
        expected_measures=_list(sql.SQL("expected.{}"), measures),
        comparison=_comparison(rollup, chunk, *conditions),
        same_key=sql.SQL(" AND ").join(sql.SQL("stored.{0} = wrong.{0}").format(sql.Identifier(key)) for key in keys),
        replaced=_list(sql.SQL("{0} = excluded.{0}"), measures),
        removed_keys=returning_keys(rollup, REMOVED),
        written_keys=returning_keys(rollup, ADDED),
        results=sql.SQL(", ").join([sql.SQL("(SELECT count(*) FROM wrong)"), *key_count_changes([rollup], _CHANGED)]),
    )
    cursor.execute(query, {"organization": organization_id, **chunk.parameters})
    count, *changes = cursor.fetchone()
    return int(count), named_changes([rollup], changes)


def _comparison(rollup: Rollup, chunk: Chunk, *conditions: sql.Composable) -> sql.Composed:
    measures = measure_columns(rollup)
    return _COMPARISON.format(
        table=sql.Identifier(rollup.table),
        rows=chunk.rows,
        expected=aggregate_query(rollup, EVENTS, IS_FOLDED, chunk.events, *conditions),
        keys=column_list(key_columns(rollup)),
        stored_measures=_list(sql.SQL("stored.{}"), measures),
        expected_measures=_list(sql.SQL("expected.{}"), measures),
    )


def _list(template: sql.SQL, names: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(template.format(sql.Identifier(name)) for name in names)


def _named(names: tuple[str, ...], values: list[str | None] | None) -> dict[str, str | None] | None:
    return None if values is None else dict(zip(names, values, strict=True))


def _difference(
    rollup: Rollup, key: dict[str, str], stored: dict[str, str | None] | None, expected: dict[str, str | None] | None
) -> Difference:
    if stored is None or expected is None:
        return Difference(rollup.name, key, stored, expected)
    differing = [name for name in stored if stored[name] != expected[name]]
    return Difference(
        rollup.name, key, {name: stored[name] for name in differing}, {name: expected[name] for name in differing}
    )
