"""Corruption of rollups for tests, and an event that has rows in all of them."""

from django.db import connection
from psycopg import sql

from billing.rollups.definitions import ROLLUPS, Merge, Rollup
from billing.rollups.sql import column_types

FULL = {
    "service": "openai",
    "model": "gpt-4o",
    "capability": "chat",
    "input_tokens": 1_000,
    "output_tokens": 100,
    "cost_usd": "0.25",
    "duration_ms": 1_500,
    "run_id": "run-1",
    "workflow_id": "workflow-1",
    "session_id": "session-1",
    "execution_id": "execution-1",
    "group_id": "group-1",
    "group_name": "Group",
    "agent_id": "agent-1",
    "agent_name": "Agent",
    "user_id": "ada",
    "end_user": "customer-1",
    "team": "search",
    "tags": ["a", "b"],
    "occurred_at": "2026-11-01T10:30:00Z",
}
"""One event that has a row in every rollup."""

_ROWS = {"tag_days": 2, "scope_hours": 9, "scope_totals": 9}


def rows_of_full(rollup: Rollup) -> int:
    """The number of rows of that event in the rollup."""
    return _ROWS.get(rollup.name, 1)


KINDS = ("sum", "missing", "superfluous", "attribute")


def plantings(kind: str) -> list[list[Rollup]]:
    """The rollups that can have this kind of difference, in two groups."""
    able = [rollup for rollup in ROLLUPS if kind != "attribute" or _attributes(rollup)]
    return [able[::2], able[1::2]]


def plant(rollup: Rollup, kind: str) -> None:
    """Corrupt the rollup's table."""
    table = sql.Identifier(rollup.table)
    if kind == "sum":
        statement = sql.SQL("UPDATE {} SET requests = requests + 1").format(table)
    elif kind == "missing":
        statement = sql.SQL("DELETE FROM {}").format(table)
    elif kind == "superfluous":
        statement = _copy_of_rows(rollup)
    else:
        column = _attributes(rollup)[0]
        change = "interval '-1 second' + {}" if column.endswith("_at") else "'x' || {}"
        name = sql.Identifier(column)
        statement = sql.SQL("UPDATE {} SET {} = {}").format(table, name, sql.SQL(change).format(name))
    with connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcount


def _attributes(rollup: Rollup) -> list[str]:
    """Its texts and times."""
    attributes = [measure.column for measure in rollup.measures if measure.merge is not Merge.SUM]
    return [column for column in attributes if column != "credential_id"]


def _copy_of_rows(rollup: Rollup) -> sql.Composed:
    """Copy the rows with another key."""
    types = column_types(rollup)
    changed = next(dimension.column for dimension in rollup.dimensions if types[dimension.column].startswith("varchar"))
    columns = sql.SQL(", ").join(map(sql.Identifier, types))
    values = sql.SQL(", ").join(
        sql.SQL("left({}, 7) || '?'" if column == changed else "{}").format(sql.Identifier(column)) for column in types
    )
    return sql.SQL("INSERT INTO {table} ({columns}) SELECT {values} FROM {table}").format(
        table=sql.Identifier(rollup.table), columns=columns, values=values
    )
