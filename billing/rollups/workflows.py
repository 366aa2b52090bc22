"""The rollups by workflow, when a run gets another workflow or another parent.

The workflow of a run is the last one that an event of the run has named, and all costs of the run count under it. They
also count, as those of a descendant, under the other workflows of the runs above it. A later event can name another
workflow or parent, which changes what the run and all runs below it count under. The rollups count folded events under
workflows that are stored with each run, and only folding changes them: in its transaction, it moves the sums of runs
that have moved, and of the runs below them. Until then, reports add and subtract the costs of these runs
(`billing.reports.runs`).

Two bounds keep a fold short. A run with more than `MAX_ANCESTORS` runs above it counts under its own workflow alone
(`folded_ancestor_workflows` is NULL), and if more than `MAX_RUNS` runs would have to be moved, none is. Reports have
the same results in both cases, because they walk these runs.
"""

from collections.abc import Iterable
from typing import Any, LiteralString

from psycopg import sql

from billing.rollups.definitions import RUN_DAYS, WORKFLOW_DAYS, WORKFLOW_TOTALS, Rollup
from billing.rollups.sql import all_true, column_list, key_columns, measure_columns, upsert_statement

MAX_ANCESTORS = 50
MAX_RUNS = 200_000

_BY_WORKFLOW = (WORKFLOW_DAYS, WORKFLOW_TOTALS)
_COUNTED = ("workflow_id", "is_descendant")


# OFFSET 0 makes PostgreSQL look up the children of each run. For a recursion it would expect many rows, and read all
# children of the organization.
_CHILDREN = sql.SQL("""
SELECT run_id, parent_run_id, workflow_id, folded_workflow_id, folded_ancestor_workflows FROM billing_run
WHERE organization_id = %(organization)s AND parent_run_id = {}.run_id AND parent_run_id <> '' OFFSET 0
""")


def children_of(table: str) -> sql.Composed:
    """Return a SELECT of the children of a run of this table, for a lateral join."""
    return _CHILDREN.format(sql.Identifier(table))


# Runs are locked in the order of their ids, as intake does (docs/locking.md). UNION (not UNION ALL) ends cycles, and
# the LIMIT ends the recursion.
_LOCK = sql.SQL("""
WITH RECURSIVE moved (run_id) AS (
    SELECT run_id FROM billing_run WHERE organization_id = %(organization)s AND has_moved
    UNION
    SELECT child.run_id FROM moved CROSS JOIN LATERAL ({children}) AS child
), bounded AS MATERIALIZED (
    SELECT run_id FROM moved LIMIT %(max_runs)s + 1
)
SELECT run_id FROM billing_run
WHERE organization_id = %(organization)s
    AND run_id = ANY (ARRAY(SELECT run_id FROM bounded WHERE (SELECT count(*) FROM bounded) <= %(max_runs)s))
ORDER BY run_id FOR NO KEY UPDATE
""").format(children=children_of("moved"))
# A separate statement, because it must see what others wrote before they released the locks. Returns the workflows that
# lost runs.
_MOVE = sql.SQL("""
WITH changed AS MATERIALIZED (
    SELECT run.organization_id, run.run_id, run.folded_workflow_id AS old_workflow, run.workflow_id AS new_workflow,
        run.folded_ancestor_workflows AS old_ancestors, above.workflows AS new_ancestors
    FROM billing_run AS run CROSS JOIN LATERAL (
        SELECT CASE WHEN count(*) <= %(max_ancestors)s THEN coalesce(
            array_agg(DISTINCT workflow_id) FILTER (WHERE workflow_id NOT IN ('', run.workflow_id)), '{{}}'
        ) END AS workflows
        FROM (
            WITH RECURSIVE line (run_id, parent_run_id, workflow_id) AS (
                SELECT parent.run_id, parent.parent_run_id, parent.workflow_id FROM billing_run AS parent
                WHERE parent.organization_id = %(organization)s AND parent.run_id = run.parent_run_id
                UNION
                SELECT parent.run_id, parent.parent_run_id, parent.workflow_id FROM line CROSS JOIN LATERAL (
                    SELECT run_id, parent_run_id, workflow_id FROM billing_run
                    WHERE organization_id = %(organization)s AND run_id = line.parent_run_id OFFSET 0
                ) AS parent
            ) SELECT workflow_id FROM line LIMIT %(max_ancestors)s + 1
        ) AS ancestor
    ) AS above
    WHERE run.organization_id = %(organization)s AND run.run_id = ANY (%(runs)s)
), moves AS MATERIALIZED (
    SELECT organization_id, run_id, workflow_id, is_descendant, sum(sign) AS sign
    FROM changed CROSS JOIN LATERAL (
        SELECT old_workflow, false, -1
        UNION ALL SELECT unnest(old_ancestors), true, -1
        UNION ALL SELECT new_workflow, false, 1
        UNION ALL SELECT unnest(new_ancestors), true, 1
    ) AS counted (workflow_id, is_descendant, sign)
    WHERE workflow_id <> ''
    GROUP BY organization_id, run_id, workflow_id, is_descendant HAVING sum(sign) <> 0
), marked AS (
    UPDATE billing_run AS run SET folded_workflow_id = changed.new_workflow,
        folded_ancestor_workflows = changed.new_ancestors, has_moved = false
    FROM changed WHERE run.organization_id = %(organization)s AND run.run_id = changed.run_id
), {moved}
SELECT coalesce(array_agg(DISTINCT workflow_id), '{{}}') FROM moves WHERE sign < 0
""")
_MOVED = sql.SQL("""
SELECT {counted}, {key}, {sums} FROM moves JOIN {runs} AS run_day USING (organization_id, run_id)
GROUP BY {counted}, {key}
""")
# A rollup has no row for a key without events. Sums of zero alone prove nothing: the events may be void.
_REMOVE_EMPTY = sql.SQL("""
DELETE FROM {table} AS stored
WHERE organization_id = %(organization)s AND workflow_id = ANY (%(workflows)s) AND {is_zero} AND NOT EXISTS (
    SELECT FROM billing_run AS run JOIN {runs} AS run_day USING (organization_id, run_id)
    WHERE run.organization_id = %(organization)s AND {same_key} AND CASE WHEN stored.is_descendant
        THEN stored.workflow_id = ANY (run.folded_ancestor_workflows)
        ELSE stored.workflow_id = run.folded_workflow_id END
)
""")


def _moved(rollup: Rollup) -> sql.Composed:
    """Build the upsert of what leaves and joins workflows."""
    return upsert_statement(
        rollup,
        _MOVED.format(
            counted=column_list(_COUNTED),
            key=column_list(_key(rollup)),
            sums=_each("sum(sign * run_day.{0}) AS {0}", measure_columns(rollup)),
            runs=sql.Identifier(RUN_DAYS.table),
        ),
    )


def _remove_empty(rollup: Rollup) -> sql.Composed:
    return _REMOVE_EMPTY.format(
        table=sql.Identifier(rollup.table),
        runs=sql.Identifier(RUN_DAYS.table),
        is_zero=all_true(sql.SQL("{} = 0").format(sql.Identifier(measure)) for measure in measure_columns(rollup)),
        same_key=all_true(
            sql.SQL("{} = {}").format(sql.Identifier("run_day", column), sql.Identifier("stored", column))
            for column in _key(rollup)
            if column != "organization_id"
        ),
    )


def _key(rollup: Rollup) -> list[str]:
    """Return the columns of the key that the days of runs have, too."""
    return [column for column in key_columns(rollup) if column not in _COUNTED]


def _each(expression: LiteralString, columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(expression).format(sql.Identifier(column)) for column in columns)


_MOVE_CHANGED = _MOVE.format(
    moved=sql.SQL(", ").join(
        sql.SQL("{} AS ({})").format(sql.Identifier(rollup.name), _moved(rollup)) for rollup in _BY_WORKFLOW
    )
)
_REMOVE_EMPTY_ROWS = [_remove_empty(rollup) for rollup in _BY_WORKFLOW]


def move_runs(cursor: Any, organization_id: int) -> None:
    """Count the folded events of runs under the workflows that they and the runs above them have now. The caller holds
    the lock on the rollups, and has folded the events that it claimed."""
    cursor.execute(_LOCK, {"organization": organization_id, "max_runs": MAX_RUNS})
    runs = [run_id for (run_id,) in cursor.fetchall()]
    if not runs:
        return
    parameters = {"organization": organization_id, "runs": runs, "max_ancestors": MAX_ANCESTORS}
    cursor.execute(_MOVE_CHANGED, parameters)
    (workflows,) = cursor.fetchone()
    if workflows:
        for statement in _REMOVE_EMPTY_ROWS:
            cursor.execute(statement, {"organization": organization_id, "workflows": workflows})
