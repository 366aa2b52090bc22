"""The rollups by workflow, when the workflow of a run changes.

The workflow of a run is the last one that an event of the run has named, and all costs of the run count under it. The
rollups count folded events under `Run.folded_workflow_id`, which only folding changes: if a run has another workflow
since, its sums are moved from the old workflow to the new one, in the transaction that folds. Until then, reports add
up the runs of these two workflows (`billing.reports.runs`).
"""

from collections.abc import Iterable
from typing import Any, LiteralString

from psycopg import sql

from billing.rollups.definitions import RUN_DAYS, WORKFLOW_DAYS, WORKFLOW_TOTALS, Rollup
from billing.rollups.sql import all_true, column_list, key_columns, measure_columns, upsert_statement

_BY_WORKFLOW = (WORKFLOW_DAYS, WORKFLOW_TOTALS)

_MOVED = sql.SQL("""
SELECT workflow_id, {key}, {sums} FROM (
    SELECT old AS workflow_id, {key}, {negative} FROM changed JOIN {runs} USING (organization_id, run_id)
    UNION ALL
    SELECT new, {key}, {measures} FROM changed JOIN {runs} USING (organization_id, run_id)
) AS run_day WHERE workflow_id <> '' GROUP BY workflow_id, {key}
""")
# Runs are locked in the order of their ids, as intake does (docs/locking.md). Returns the workflows that lost runs.
_MOVE = sql.SQL("""
WITH changed AS MATERIALIZED (
    SELECT organization_id, run_id, folded_workflow_id AS old, workflow_id AS new FROM billing_run
    WHERE organization_id = %(organization)s AND NOT (folded_workflow_id = workflow_id)
    ORDER BY run_id FOR NO KEY UPDATE
), marked AS (
    UPDATE billing_run AS run SET folded_workflow_id = changed.new FROM changed
    WHERE run.organization_id = %(organization)s AND run.run_id = changed.run_id
), {moved}
SELECT coalesce(array_agg(DISTINCT old) FILTER (WHERE old <> ''), '{{}}') FROM changed
""")
# A rollup has no row for a key without events. Sums of zero alone prove nothing: the events may be void.
_REMOVE_EMPTY = sql.SQL("""
DELETE FROM {table} AS stored
WHERE organization_id = %(organization)s AND workflow_id = ANY (%(workflows)s) AND {is_zero} AND NOT EXISTS (
    SELECT FROM billing_run AS run JOIN {runs} AS run_day USING (organization_id, run_id)
    WHERE run.organization_id = %(organization)s AND run.folded_workflow_id = stored.workflow_id AND {same_key}
)
""")


def _moved(rollup: Rollup) -> sql.Composed:
    """Build the upsert of what leaves and joins workflows."""
    measures = measure_columns(rollup)
    return upsert_statement(
        rollup,
        _MOVED.format(
            key=column_list(_key(rollup)),
            sums=_each("sum({0}) AS {0}", measures),
            negative=_each("-{0} AS {0}", measures),
            measures=column_list(measures),
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
    """Return the key without the workflow, which are columns of the days of runs."""
    return [column for column in key_columns(rollup) if column != "workflow_id"]


def _each(expression: LiteralString, columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL(expression).format(sql.Identifier(column)) for column in columns)


_MOVE_CHANGED = _MOVE.format(
    moved=sql.SQL(", ").join(
        sql.SQL("{} AS ({})").format(sql.Identifier(rollup.name), _moved(rollup)) for rollup in _BY_WORKFLOW
    )
)
_REMOVE_EMPTY_ROWS = [_remove_empty(rollup) for rollup in _BY_WORKFLOW]


def move_changed_runs(cursor: Any, organization_id: int) -> None:
    """Count the folded events of runs under the workflow that they have now. The caller holds the lock on the rollups,
    and has folded the events that it claimed."""
    cursor.execute(_MOVE_CHANGED, {"organization": organization_id})
    (workflows,) = cursor.fetchone()
    if workflows:
        for statement in _REMOVE_EMPTY_ROWS:
            cursor.execute(statement, {"organization": organization_id, "workflows": workflows})
