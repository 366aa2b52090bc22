"""The SQL of a rollup, composed from its definition. Everything in it comes from this code; values are parameters."""

from collections.abc import Iterable

from django.db import connection
from psycopg import sql

from billing.rollups.definitions import Measure, Merge, Rollup

# Rows of the ledger to work on, as `event`. Parameters: organization, first and last (ids that bound the batches, so
# that other partitions are not looked at), batches and last_events (arrays).
OF_BATCHES = sql.SQL("""
unnest(%(batches)s::uuid[], %(last_events)s::uuid[]) AS batch (id, last_event_id)
CROSS JOIN LATERAL (
    SELECT * FROM billing_usageevent
    WHERE organization_id = %(organization)s AND id > batch.id AND id <= batch.last_event_id
        AND id > %(first)s AND id <= %(last)s
    OFFSET 0 -- each batch by itself along the primary key, and not every event beside every batch
) AS event
""")
OF_UNFOLDED = sql.SQL("""billing_ingestbatch AS batch
JOIN billing_usageevent AS event ON event.organization_id = batch.organization_id
    AND event.id > batch.id AND event.id <= batch.last_event_id""")
EVENTS = sql.SQL("billing_usageevent AS event")

# Parameters: organization, start and end (of occurred_at). An event's id and its batch's are alike but for the last two
# of 16 bytes: so batches are looked up in a hash table, also where very many events meet very many of them.
IS_FOLDED = sql.SQL("""
event.organization_id = %(organization)s AND substring(uuid_send(event.id), 1, 14) NOT IN (
    SELECT substring(uuid_send(batch.id), 1, 14) FROM billing_ingestbatch AS batch
    WHERE batch.organization_id = %(organization)s AND batch.folded_at IS NULL
)""")
IN_WINDOW = sql.SQL("event.occurred_at >= %(start)s AND event.occurred_at < %(end)s")

_MERGED = {
    Merge.SUM: sql.SQL("{column} = kept.{column} + excluded.{column}"),
    Merge.FIRST: sql.SQL("{column} = least(kept.{column}, excluded.{column})"),
    Merge.LAST: sql.SQL("{column} = greatest(kept.{column}, excluded.{column})"),
}


def all_true(conditions: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(conditions)


def key_columns(rollup: Rollup) -> tuple[str, ...]:
    return ("organization_id", *(dimension.column for dimension in rollup.dimensions), "archived")


def measure_columns(rollup: Rollup) -> tuple[str, ...]:
    return tuple(measure.column for measure in rollup.measures)


def column_types(rollup: Rollup) -> dict[str, str]:
    """The types of the table's columns."""
    fields = rollup.model._meta.concrete_fields  # noqa: SLF001 - documented for such use
    return {field.column: str(field.db_type(connection)) for field in fields if field.column is not None}


def column_list(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def aggregated(
    rollup: Rollup, source: sql.Composable, *conditions: sql.Composable, archived: bool = False
) -> sql.Composed:
    """SELECT of the rollup's columns, in the order of its key: what the events of `source` add up to."""
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


def added_to(rollup: Rollup, rows: sql.Composable) -> sql.Composed:
    """INSERT that adds `rows` (a SELECT of the rollup's columns) to what the rollup's table holds.

    Rows are taken in the order of the key, so that two transactions wait for each other and cannot deadlock.
    """
    keys = column_list(key_columns(rollup))
    columns = column_list([*key_columns(rollup), *measure_columns(rollup)])
    merged = [_MERGED[measure.merge].format(column=sql.Identifier(measure.column)) for measure in rollup.measures]
    return sql.SQL(
        "INSERT INTO {table} AS kept ({columns}) SELECT {columns} FROM ({rows}) AS told ORDER BY {keys} "
        "ON CONFLICT ({keys}) DO UPDATE SET {merged}"
    ).format(
        table=sql.Identifier(rollup.table),
        columns=columns,
        rows=rows,
        keys=keys,
        merged=sql.SQL(", ").join(merged),
    )


def folded(rollup: Rollup, source: sql.Composable) -> sql.Composed:
    """The statement that adds the events of `source` to a rollup and to its coarser ones."""
    told = sql.SQL("SELECT * FROM told")
    coarser = [
        sql.SQL(", {} AS ({})").format(sql.Identifier(one.name), added_to(one, _summed_up(one)))
        for one in rollup.coarser
    ]
    return sql.SQL("WITH told AS MATERIALIZED ({}){} {}").format(
        aggregated(rollup, source), sql.Composed(coarser), added_to(rollup, told)
    )


def _summed_up(rollup: Rollup) -> sql.Composed:
    """SELECT of a coarser rollup's columns: what the rows `told` of a finer one add up to."""
    dimensions = [sql.SQL(dimension.of_finer or f"finer.{dimension.column}") for dimension in rollup.dimensions]
    keys = [sql.SQL("finer.organization_id"), *dimensions, sql.SQL("finer.archived")]
    merged = [
        sql.SQL("{}({})").format(sql.SQL(measure.merge.value), sql.Identifier("finer", measure.column))
        for measure in rollup.measures
    ]
    columns = [*_named(keys, key_columns(rollup)), *_named(merged, measure_columns(rollup))]
    return sql.SQL("SELECT {} FROM told AS finer GROUP BY {}").format(
        sql.SQL(", ").join(columns), sql.SQL(", ").join(keys)
    )


def live_view(rollup: Rollup, name: str) -> sql.Composed:
    """CREATE VIEW: what is folded, and each event that is not.

    Both halves have exactly the table's types: otherwise PostgreSQL would not look into them with a query's conditions.
    """
    types = column_types(rollup)
    names = [*key_columns(rollup), *measure_columns(rollup)]
    expressions = [
        "event.organization_id",
        *(dimension.expression for dimension in rollup.dimensions),
        "false",
        *(measure.expression for measure in rollup.measures),
    ]
    tail = [
        sql.SQL("({})::{}").format(sql.SQL(expression), sql.SQL(types[column]))
        for expression, column in zip(expressions, names, strict=True)
    ]
    return sql.SQL(
        "CREATE VIEW {name} WITH (security_invoker = true) AS\n"
        "SELECT {columns}\nFROM {table}\n"
        "UNION ALL\nSELECT {tail}\nFROM {unfolded} {joined}\nWHERE batch.folded_at IS NULL AND {condition}"
    ).format(
        name=sql.Identifier(name),
        columns=column_list(names),
        table=sql.Identifier(rollup.table),
        tail=sql.SQL(", ").join(tail),
        unfolded=OF_UNFOLDED,
        joined=sql.SQL(rollup.joined),
        condition=sql.SQL(rollup.condition),
    )


def _aggregate(measure: Measure) -> sql.Composed:
    # What is added up in PostgreSQL's bigint becomes numeric; the table's column makes it a bigint again.
    return sql.SQL("{}({})").format(sql.SQL(measure.merge.value), sql.SQL(measure.expression))


def _named(expressions: Iterable[sql.Composable], names: Iterable[str]) -> list[sql.Composed]:
    return [
        sql.SQL("{} AS {}").format(expression, sql.Identifier(name))
        for expression, name in zip(expressions, names, strict=True)
    ]
