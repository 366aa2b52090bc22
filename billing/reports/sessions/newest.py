"""Which sessions and executions a list shows: the latest, read from an index so that cost does not grow with their
number, and the sessions of executions. Exact.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from psycopg import sql

from billing.reports.cursors import Page, StartPosition, page_of
from billing.reports.rollup_reader import RollupReader
from billing.rollups.definitions import SESSION_TOTALS, Rollup

# A key with an archived row began at the earlier of its two rows. Keys with unfolded events are handled separately,
# because those may start earlier.
_NEWEST = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), chosen AS (
    SELECT key, first_at FROM (
        {totals}
        UNION ALL
        SELECT {key}, least(first_at, (
            SELECT min(first_at) FROM {table} AS folded
            WHERE organization_id = %(organization)s AND folded.{key} = tail.{key}))
        FROM tail
    ) AS candidate WHERE {candidate_is_after} ORDER BY first_at DESC, key LIMIT %(enough)s
)
SELECT array_agg(key ORDER BY first_at DESC, key), array_agg(first_at ORDER BY first_at DESC, key)
FROM chosen
""")
_TOTALS = sql.SQL("""
(SELECT {key} AS key, first_at FROM {table} AS total
WHERE organization_id = %(organization)s AND {condition} AND {key} NOT IN (SELECT {key} FROM tail)
    AND archived = (
        SELECT archived FROM {table} AS other
        WHERE organization_id = %(organization)s AND other.{key} = total.{key}
        ORDER BY first_at, archived LIMIT 1)
ORDER BY first_at DESC, {key} LIMIT %(enough)s)
""")
_ALL = sql.SQL("true")
# Two conditions, because each is one index range and their combination is not.
_AFTER = (
    sql.SQL("first_at = %(after_at)s AND {key} > %(after_key)s"),
    sql.SQL("first_at < %(after_at)s"),
)


def list_newest(
    reader: RollupReader, rollup: Rollup, *, limit: int, after: StartPosition | None
) -> Page[StartPosition, StartPosition]:
    """Return the positions of a page of a rollup with a single dimension, latest start first; ties are ordered by
    key."""
    key, table = sql.Identifier(rollup.dimensions[0].column), sql.Identifier(rollup.table)
    ranges = (_ALL,) if after is None else _AFTER

    def compose(reader: RollupReader) -> sql.Composable:
        reader.parameters["enough"] = limit + 1
        if after is not None:
            reader.parameters.update(after_at=after.at, after_key=after.key)
        totals = [_TOTALS.format(key=key, table=table, condition=condition.format(key=key)) for condition in ranges]
        return _NEWEST.format(
            tail=reader.unfolded(rollup),
            key=key,
            table=table,
            totals=sql.SQL(" UNION ALL ").join(totals),
            candidate_is_after=sql.SQL(" OR ").join(
                condition.format(key=sql.Identifier("key")) for condition in ranges
            ),
        )

    [(keys, starts)] = reader.read(compose)
    positions = [StartPosition(*row) for row in zip(starts or [], keys or [], strict=True)]
    return page_of(positions, limit, lambda position: position)


class SessionRow(NamedTuple):
    """Ids of a session (empty if not sent) and its times. A session that named several executions belongs to the
    greatest name, so that no cost counts twice. `SESSION_COLUMNS` selects them in this order."""

    session_id: str
    execution_id: str
    workflow_id: str
    phase_id: str
    workspace_id: str
    agent_id: str
    summaries: int
    started_at: datetime
    last_seen_at: datetime
    completed_at: datetime | None


SESSION_COLUMNS = sql.SQL("""
    session_id, max(execution_id), max(workflow_id), max(phase_id), max(workspace_id), max(agent_id),
    sum(summaries)::bigint, min(first_at) AS started_at, max(last_at), max(completed_at)
""")
_COLUMNS = sql.SQL(
    "session_id, execution_id, workflow_id, phase_id, workspace_id, agent_id, summaries,"
    " first_at, last_at, completed_at"
)
# The condition on '' matches the partial index.
_MEMBERS = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), named AS MATERIALIZED (
    SELECT session_id FROM billing_session
    WHERE organization_id = %(organization)s AND execution_id = ANY(%(executions)s) AND execution_id <> ''
    UNION SELECT session_id FROM tail WHERE execution_id = ANY(%(executions)s) AND execution_id <> ''
)
SELECT {totals} FROM (
    SELECT {columns} FROM billing_session
    WHERE organization_id = %(organization)s AND session_id = ANY(ARRAY(SELECT session_id FROM named))
    UNION ALL
    SELECT {columns} FROM tail WHERE session_id IN (SELECT session_id FROM named)
) AS total
GROUP BY session_id HAVING max(execution_id) = ANY(%(executions)s)
ORDER BY started_at, session_id LIMIT %(max_members)s
""")


def list_members(reader: RollupReader, execution_ids: Sequence[str], *, limit: int | None = None) -> list[SessionRow]:
    """Return the sessions of the executions, oldest first."""

    def compose(reader: RollupReader) -> sql.Composable:
        reader.parameters.update(executions=list(execution_ids), max_members=limit)
        return _MEMBERS.format(tail=reader.unfolded(SESSION_TOTALS), totals=SESSION_COLUMNS, columns=_COLUMNS)

    return [SessionRow(*row) for row in reader.read(compose)]
