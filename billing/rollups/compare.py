"""A part of a rollup beside what the ledger says of it. Each statement sees one snapshot, takes no lock on the ledger,
and leaves out what is not folded: so it is right whatever is taken in meanwhile.

Archived rows are not looked at: their events are gone.
"""

from typing import Any

from psycopg import sql

from billing.rollups.chunks import Chunk
from billing.rollups.definitions import Rollup
from billing.rollups.sql import (
    EVENTS,
    IS_FOLDED,
    aggregated,
    column_list,
    column_types,
    key_columns,
    measure_columns,
)
from billing.rollups.types import Difference

# Aggregates of a part fit into it.
WORK_MEMORY = "SET LOCAL work_mem = '64MB'"

_BESIDE = sql.SQL("""
FROM (SELECT * FROM {table} WHERE organization_id = %(organization)s AND NOT archived AND {rows}) AS stored
FULL JOIN ({told}) AS told USING ({keys})
WHERE ROW({stored_measures}) IS DISTINCT FROM ROW({told_measures})
""")
_DIFFERENCES = sql.SQL("""
SELECT count(*) OVER (), ARRAY[{key_texts}],
    CASE WHEN stored.organization_id IS NOT NULL THEN ARRAY[{stored_texts}] END,
    CASE WHEN told.organization_id IS NOT NULL THEN ARRAY[{told_texts}] END
{beside} ORDER BY {keys} LIMIT %(most)s
""")
# What is removed and what is written are different rows, so it does not matter which comes first.
_MAKE_RIGHT = sql.SQL("""
WITH wrong AS MATERIALIZED (
    SELECT {keys}, {told_measures}, told.organization_id IS NULL AS is_superfluous {beside}
), removed AS (
    DELETE FROM {table} AS kept USING wrong WHERE wrong.is_superfluous AND {same_key}
), written AS (
    INSERT INTO {table} ({columns}) SELECT {columns} FROM wrong WHERE NOT is_superfluous ORDER BY {keys}
    ON CONFLICT ({keys}) DO UPDATE SET {replaced}
)
SELECT count(*) FROM wrong
""")


def differences(
    cursor: Any, rollup: Rollup, organization_id: int, chunk: Chunk, most: int
) -> tuple[int, list[Difference]]:
    """How many rows of the part are not as the ledger says, and the first of them."""
    keys, measures = key_columns(rollup)[1:-1], measure_columns(rollup)
    types = column_types(rollup)
    query = _DIFFERENCES.format(
        key_texts=_list(sql.SQL("{}::text"), keys),
        stored_texts=_list(sql.SQL("stored.{}::text"), measures),
        told_texts=sql.SQL(", ").join(
            sql.SQL("told.{}::{}::text").format(sql.Identifier(name), sql.SQL(types[name])) for name in measures
        ),
        keys=column_list(keys),
        beside=_beside(rollup, chunk),
    )
    cursor.execute(query, {"organization": organization_id, "most": most, **chunk.parameters})
    found = cursor.fetchall()
    first = [
        _difference(rollup, dict(zip(keys, key, strict=True)), _named(measures, stored), _named(measures, told))
        for _, key, stored, told in found
    ]
    return (found[0][0] if found else 0), first


def make_right(cursor: Any, rollup: Rollup, organization_id: int, chunk: Chunk, *conditions: sql.Composable) -> int:
    """Write what differs, and nothing else; answers how many rows that were. Needs the rollups alone
    (`billing.rollups.locks`). Events that do not meet the conditions are taken as gone."""
    keys, measures = key_columns(rollup), measure_columns(rollup)
    query = _MAKE_RIGHT.format(
        table=sql.Identifier(rollup.table),
        keys=column_list(keys),
        columns=column_list([*keys, *measures]),
        told_measures=_list(sql.SQL("told.{}"), measures),
        beside=_beside(rollup, chunk, *conditions),
        same_key=sql.SQL(" AND ").join(sql.SQL("kept.{0} = wrong.{0}").format(sql.Identifier(key)) for key in keys),
        replaced=_list(sql.SQL("{0} = excluded.{0}"), measures),
    )
    cursor.execute(query, {"organization": organization_id, **chunk.parameters})
    (count,) = cursor.fetchone()
    return int(count)


def _beside(rollup: Rollup, chunk: Chunk, *conditions: sql.Composable) -> sql.Composed:
    measures = measure_columns(rollup)
    return _BESIDE.format(
        table=sql.Identifier(rollup.table),
        rows=chunk.rows,
        told=aggregated(rollup, EVENTS, IS_FOLDED, chunk.events, *conditions),
        keys=column_list(key_columns(rollup)),
        stored_measures=_list(sql.SQL("stored.{}"), measures),
        told_measures=_list(sql.SQL("told.{}"), measures),
    )


def _list(template: sql.SQL, names: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(template.format(sql.Identifier(name)) for name in names)


def _named(names: tuple[str, ...], values: list[str | None] | None) -> dict[str, str | None] | None:
    return None if values is None else dict(zip(names, values, strict=True))


def _difference(
    rollup: Rollup, key: dict[str, str], stored: dict[str, str | None] | None, told: dict[str, str | None] | None
) -> Difference:
    if stored is None or told is None:
        return Difference(rollup.name, key, stored, told)
    differing = [name for name in stored if stored[name] != told[name]]
    return Difference(
        rollup.name, key, {name: stored[name] for name in differing}, {name: told[name] for name in differing}
    )
