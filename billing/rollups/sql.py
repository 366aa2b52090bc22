"""SQL statements of rollups, composed from their definitions. Values are passed as parameters."""

from collections.abc import Iterable, Mapping
from functools import cache

from django.db import connection
from psycopg import sql

from billing.rollups.definitions import Measure, Merge, Rollup

# Rows of the ledger to fold, as `event`. Parameters: organization, first and last (ids that bound the batches, so that
# other partitions are skipped), batches and last_events (arrays).
OF_BATCHES = sql.SQL("""
unnest(%(batches)s::uuid[], %(last_events)s::uuid[]) AS batch (id, last_event_id)
CROSS JOIN LATERAL (
    SELECT * FROM billing_usageevent
    WHERE organization_id = %(organization)s AND id > batch.id AND id <= batch.last_event_id
        AND id > %(first)s AND id <= %(last)s
    OFFSET 0 -- scans the primary key once per batch instead of joining all events
) AS event
""")
OF_UNFOLDED = sql.SQL("""billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id""")
EVENTS = sql.SQL("billing_usageevent AS event")

# Parameters: organization, start and end (of occurred_at). The ids of an event and its batch differ only in the last
# two of 16 bytes, so a hash table finds the batch even with very many events and batches.
IS_FOLDED = sql.SQL("""
event.organization_id = %(organization)s AND substring(uuid_send(event.id), 1, 14) NOT IN (
    SELECT substring(uuid_send(batch.id), 1, 14) FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = %(organization)s AND batch.folded_at IS NULL
)""")
IN_WINDOW = sql.SQL("event.occurred_at >= %(start)s AND event.occurred_at < %(end)s")

_MERGED = {
    Merge.SUM: sql.SQL("{column} = stored.{column} + excluded.{column}"),
    Merge.FIRST: sql.SQL("{column} = least(stored.{column}, excluded.{column})"),
    Merge.LAST: sql.SQL("{column} = greatest(stored.{column}, excluded.{column})"),
}


def all_true(conditions: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(conditions)


def key_columns(rollup: Rollup) -> tuple[str, ...]:
    return ("organization_id", *(dimension.column for dimension in rollup.dimensions), "archived")


def measure_columns(rollup: Rollup) -> tuple[str, ...]:
    return tuple(measure.column for measure in rollup.measures)


@cache
def column_types(rollup: Rollup) -> Mapping[str, str]:
    """Return the types of the table's columns."""
    fields = rollup.model._meta.concrete_fields  # noqa: SLF001 - documented for such use
    return {field.column: str(field.db_type(connection)) for field in fields if field.column is not None}


def column_list(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def aggregate_query(
    rollup: Rollup, source: sql.Composable, *conditions: sql.Composable, archived: bool = False
) -> sql.Composed:
    """Return a SELECT that aggregates the events of `source` to the rollup's columns, in the order of its key."""
    dimensions = [sql.SQL(dimension.expression) for dimension in rollup.dimensions]
    keys = [sql.SQL("event.organization_id"), *dimensions, sql.Literal(archived)]
    columns = [*_named(keys, key_columns(rollup)), *_named(map(_aggregate, rollup.measures), measure_columns(rollup))]
    return sql.SQL("SELECT {} FROM {} {} WHERE {} GROUP BY {}").format(
        sql.SQL(", ").join(columns),
        source,
        sql.SQL(rollup.joined),
        all_true([sql.SQL(rollup.condition), *conditions]),
        sql.SQL(", ").join([sql.SQL("event.organization_id"), *dimensions]),
    )


def upsert_statement(rollup: Rollup, rows: sql.Composable) -> sql.Composed:
    """Return an INSERT that adds `rows` (a SELECT of the rollup's columns) to the rollup's table.

    Rows are locked in the order of the key, so transactions cannot deadlock. A counted rollup returns its keys.
    """
    keys = column_list(key_columns(rollup))
    columns = column_list([*key_columns(rollup), *measure_columns(rollup)])
    merged = [_MERGED[measure.merge].format(column=sql.Identifier(measure.column)) for measure in rollup.measures]
    return sql.SQL(
        "INSERT INTO {table} AS stored ({columns}) SELECT {columns} FROM ({rows}) AS delta ORDER BY {keys} "
        "ON CONFLICT ({keys}) DO UPDATE SET {merged}{returned}"
    ).format(
        table=sql.Identifier(rollup.table),
        columns=columns,
        rows=rows,
        keys=keys,
        merged=sql.SQL(", ").join(merged),
        returned=returning_keys(rollup, ADDED),
    )


# By how much a written row changes the number of rows. PostgreSQL sets xmax when an upsert has found the row.
ADDED = sql.SQL("(stored.xmax = 0)::int")
REMOVED = sql.SQL("-1")


def returning_keys(rollup: Rollup, change: sql.Composable) -> sql.Composable:
    """Return the RETURNING clause of a write to a counted rollup; nothing for another one."""
    if not rollup.counted_in:
        return sql.SQL("")
    key = sql.Identifier("stored", rollup.dimensions[0].column)
    return sql.SQL(" RETURNING stored.organization_id, {}, stored.archived, {} AS change").format(key, change)


def key_count_changes(rollups: Iterable[Rollup], written: sql.Composable | None = None) -> list[sql.Composed]:
    """Return columns of a SELECT: by how much a statement changes the number of keys of each counted rollup.

    `written` has what the statement returns, by default from a WITH query of the rollup's name. A key may have two
    rows, one of them archived, and counts once. (No statement writes both.)
    """
    return [
        sql.SQL("""(
            SELECT coalesce(sum(written.change), 0) FROM {written} AS written
            WHERE NOT EXISTS (
                SELECT FROM {table} AS other
                WHERE other.organization_id = written.organization_id AND other.{key} = written.{key}
                    AND other.archived <> written.archived
            )
        )""").format(
            written=written or sql.Identifier(rollup.name),
            table=sql.Identifier(rollup.table),
            key=sql.Identifier(rollup.dimensions[0].column),
        )
        for rollup in rollups
        if rollup.counted_in
    ]


def archive_statement(rollup: Rollup, rows: sql.Composable) -> sql.Composed:
    """Return the statement that adds `rows` to a rollup, and selects its `key_count_changes`."""
    return sql.SQL("WITH {} AS ({}) SELECT {}").format(
        sql.Identifier(rollup.name), upsert_statement(rollup, rows), sql.SQL(", ").join(key_count_changes([rollup]))
    )


def fold_statement(rollup: Rollup, source: sql.Composable) -> sql.Composed:
    """Return the statement that adds the events of `source` to a rollup and to its coarser ones, and selects their
    `key_count_changes`."""
    rows = [
        (rollup, sql.SQL("SELECT * FROM delta")),
        *((coarser, _coarser_query(coarser)) for coarser in rollup.coarser),
    ]
    writes = [
        sql.SQL("{} AS ({})").format(sql.Identifier(target.name), upsert_statement(target, query))
        for target, query in rows
    ]
    return sql.SQL("WITH delta AS MATERIALIZED ({}), {} SELECT {}").format(
        aggregate_query(rollup, source),
        sql.SQL(", ").join(writes),
        sql.SQL(", ").join(key_count_changes([rollup, *rollup.coarser])),
    )


def _coarser_query(rollup: Rollup) -> sql.Composed:
    """Return a SELECT that aggregates the rows `delta` of a finer rollup to a coarser one."""
    dimensions = [sql.SQL(dimension.finer_expression or f"finer.{dimension.column}") for dimension in rollup.dimensions]
    keys = [sql.SQL("finer.organization_id"), *dimensions, sql.SQL("finer.archived")]
    merged = [
        sql.SQL("{}({})").format(sql.SQL(measure.merge.value), sql.Identifier("finer", measure.column))
        for measure in rollup.measures
    ]
    columns = [*_named(keys, key_columns(rollup)), *_named(merged, measure_columns(rollup))]
    return sql.SQL("SELECT {} FROM delta AS finer {} GROUP BY {}").format(
        sql.SQL(", ").join(columns), sql.SQL(rollup.finer_joined), sql.SQL(", ").join(keys)
    )


def event_rows(rollup: Rollup, source: sql.Composable, *conditions: sql.Composable) -> sql.Composed:
    """Return a SELECT of the rollup's columns with a row for each event of `source`.

    The columns have exactly the table's types; otherwise PostgreSQL would not push a query's conditions into both
    halves of a union with the table.
    """
    belongs = () if rollup.condition == "true" else (sql.SQL(rollup.condition),)
    return sql.SQL("SELECT\n    {columns}\nFROM {source}{joined}\nWHERE {conditions}").format(
        columns=_event_columns(rollup),
        source=source,
        joined=sql.SQL(f"\n{rollup.joined}" if rollup.joined else ""),
        conditions=sql.SQL("\n    AND ").join([*conditions, *belongs]),
    )


@cache
def _event_columns(rollup: Rollup) -> sql.SQL:
    """Compose the columns of `event_rows` once: every report of recent usage has them."""
    types = column_types(rollup)
    names = [*key_columns(rollup), *measure_columns(rollup)]
    expressions = [
        "event.organization_id",
        *(dimension.expression for dimension in rollup.dimensions),
        "false",
        *(measure.expression for measure in rollup.measures),
    ]
    columns = [
        sql.SQL("CAST({} AS {}) AS {}").format(sql.SQL(expression), sql.SQL(types[column]), sql.Identifier(column))
        for expression, column in zip(expressions, names, strict=True)
    ]
    return sql.SQL(sql.SQL(",\n    ").join(columns).as_string(None))


def live_view(rollup: Rollup, name: str) -> sql.Composed:
    """Return CREATE VIEW of the rollup's rows and, as additional rows, its unfolded events."""
    names = [*key_columns(rollup), *measure_columns(rollup)]
    return sql.SQL(
        "CREATE VIEW {name} WITH (security_invoker = true) AS\n"
        "SELECT\n    {columns}\nFROM {table}\nUNION ALL\n{unfolded}"
    ).format(
        name=sql.Identifier(name),
        columns=sql.SQL(",\n    ").join(map(sql.Identifier, names)),
        table=sql.Identifier(rollup.table),
        unfolded=event_rows(rollup, OF_UNFOLDED, sql.SQL("batch.folded_at IS NULL")),
    )


def _aggregate(measure: Measure) -> sql.Composed:
    # PostgreSQL's sum of bigint is numeric; the table's column converts it back.
    return sql.SQL("{}({})").format(sql.SQL(measure.merge.value), sql.SQL(measure.expression))


def _named(expressions: Iterable[sql.Composable], names: Iterable[str]) -> list[sql.Composed]:
    return [
        sql.SQL("{} AS {}").format(expression, sql.Identifier(name))
        for expression, name in zip(expressions, names, strict=True)
    ]
