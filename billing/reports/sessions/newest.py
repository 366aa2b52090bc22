"""Which sessions and executions a list shows: the latest, read from an index so that cost does not grow with their
number, and the sessions of executions. Exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from psycopg import sql

from billing.reports.cursors import Page, StartPosition, page_of
from billing.reports.rollup_reader import RollupReader
from billing.reports.sql import equal_to, within
from billing.rollups.definitions import EXECUTION_TOTALS, SESSION_TOTALS, Rollup
from billing.rollups.sql import all_true, column_list
from costtrack.calendar import ALWAYS, Window

MAX_SEARCHED = 1_000
"""How many sessions or executions a page with filters searches. If they are not enough, the page is shorter, and the
next one continues."""


@dataclass(frozen=True, slots=True)
class EntityFilter:
    """Filters of sessions and executions; empty means any. The window is that of their starts.

    The workflow is that of the session, or of one of the execution's sessions. `is_finished`: the session is finalized,
    or all sessions of the execution are. User, team and end user are those of one event, which is read from the ledger.
    """

    window: Window = ALWAYS
    workflow_id: str = ""
    user_id: str = ""
    team: str = ""
    end_user: str = ""
    is_finished: bool | None = None

    @property
    def events(self) -> dict[str, str]:
        """The columns of the ledger that an event must have."""
        columns = {"user_ref": self.user_id, "team": self.team, "end_user": self.end_user}
        return {column: value for column, value in columns.items() if value}

    @property
    def searches(self) -> bool:
        """Whether there is a filter besides the window, which no index has."""
        return bool(self.workflow_id or self.events) or self.is_finished is not None


UNFILTERED = EntityFilter()

# A key with an archived row began at the earlier of its two rows. Keys with unfolded events are handled separately,
# because those may start earlier.
_NEWEST = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), {session_tail} candidate AS MATERIALIZED (
    SELECT key, first_at FROM (
        {totals}
        UNION ALL
        SELECT {key}, least(first_at, folded_first_at) FROM tail
    ) AS started WHERE ({is_after}) AND {in_window} ORDER BY first_at DESC, key LIMIT %(searched)s
), chosen AS (
    SELECT key, first_at FROM candidate WHERE {matches} ORDER BY first_at DESC, key LIMIT %(enough)s
)
SELECT
    (SELECT array_agg(key ORDER BY first_at DESC, key) FROM chosen),
    (SELECT array_agg(first_at ORDER BY first_at DESC, key) FROM chosen),
    (SELECT count(*) FROM candidate),
    (SELECT key FROM candidate ORDER BY first_at, key DESC LIMIT 1),
    (SELECT min(first_at) FROM candidate)
""")
_TOTALS = sql.SQL("""
(SELECT {key} AS key, first_at FROM {table} AS total
WHERE organization_id = %(organization)s AND {condition} AND {in_window} AND {key} NOT IN (SELECT {key} FROM tail)
    AND archived = (
        SELECT archived FROM {table} AS other
        WHERE organization_id = %(organization)s AND other.{key} = total.{key}
        ORDER BY first_at, archived LIMIT 1)
ORDER BY first_at DESC, {key} LIMIT %(searched)s)
""")
_ALL = sql.SQL("true")
# Two conditions, because each is one index range and their combination is not.
_AFTER = (
    sql.SQL("first_at = %(after_at)s AND {key} > %(after_key)s"),
    sql.SQL("first_at < %(after_at)s"),
)

_SESSION_TAIL = sql.SQL("session_tail AS MATERIALIZED ({unfolded}),")
_NOTHING = sql.SQL("")
# Rows of sessions, folded and unfolded; a session may have several.
_ROWS = sql.SQL("""(
    SELECT session_id, execution_id, workflow_id, summaries FROM billing_session
    WHERE organization_id = %(organization)s
    UNION ALL
    SELECT session_id, execution_id, workflow_id, summaries FROM session_tail
)""")
_OF_SESSION = sql.SQL("row.session_id = {key}")
# The conditions on '' match partial indexes.
_OF_EXECUTION = sql.SQL("row.execution_id = {key} AND row.execution_id <> ''")
_HAS_WORKFLOW = sql.SQL("EXISTS (SELECT FROM {rows} AS row WHERE {belongs} AND row.workflow_id = {workflow})")
_HAS_EVENT = sql.SQL("""EXISTS (
    SELECT FROM {rows} AS row JOIN billing_usageevent AS event
        ON event.organization_id = %(organization)s AND event.session_id = row.session_id AND event.session_id <> ''
    WHERE {belongs} AND {has_columns}
)""")
_IS_FINISHED = sql.SQL("""(EXISTS (SELECT FROM {rows} AS row WHERE {belongs}) AND NOT EXISTS (
    SELECT FROM {rows} AS row WHERE {belongs} AND NOT EXISTS (
        SELECT FROM {rows} AS summary WHERE summary.session_id = row.session_id AND summary.summaries > 0
    )
))""")


def _matches(reader: RollupReader, rollup: Rollup, filters: EntityFilter, key: sql.Composable) -> sql.Composable:
    """Build the condition that a session or execution matches the filters besides the window. The statement has
    `session_tail`."""
    template = _OF_EXECUTION if rollup is EXECUTION_TOTALS else _OF_SESSION
    belongs = template.format(key=key)
    conditions: list[sql.Composable] = [_ALL]
    if filters.workflow_id:
        workflow = reader.bind(filters.workflow_id)
        conditions.append(_HAS_WORKFLOW.format(rows=_ROWS, belongs=belongs, workflow=workflow))
    if filters.events:
        has_columns = equal_to(filters.events)
        conditions.append(_HAS_EVENT.format(rows=_ROWS, belongs=belongs, has_columns=has_columns(reader.parameters)))
    if filters.is_finished is not None:
        is_finished = _IS_FINISHED.format(rows=_ROWS, belongs=belongs)
        conditions.append(is_finished if filters.is_finished else sql.SQL("NOT {}").format(is_finished))
    return all_true(conditions)


def _session_tail(reader: RollupReader, filters: EntityFilter) -> sql.Composable:
    if not filters.searches:
        return _NOTHING
    columns = ("session_id", "execution_id", "workflow_id", "summaries")
    return _SESSION_TAIL.format(unfolded=reader.unfolded(SESSION_TOTALS, columns))


def list_newest(
    reader: RollupReader,
    rollup: Rollup,
    *,
    filters: EntityFilter = UNFILTERED,
    limit: int,
    after: StartPosition | None,
) -> Page[StartPosition, StartPosition]:
    """Return the positions of a page of sessions or executions, latest start first; ties are ordered by key. A page
    with filters may have fewer rows and a `last`: earlier ones were not searched."""
    key, table = sql.Identifier(rollup.dimensions[0].column), sql.Identifier(rollup.table)
    ranges = (_ALL,) if after is None else _AFTER
    searched = MAX_SEARCHED if filters.searches else limit + 1

    def compose(reader: RollupReader) -> sql.Composable:
        reader.parameters.update(enough=limit + 1, searched=searched)
        if after is not None:
            reader.parameters.update(after_at=after.at, after_key=after.key)
        in_window = within(sql.Identifier("first_at"), filters.window, reader.parameters)
        totals = [
            _TOTALS.format(key=key, table=table, condition=condition.format(key=key), in_window=in_window)
            for condition in ranges
        ]
        return _NEWEST.format(
            tail=reader.unfolded(rollup, (rollup.dimensions[0].column, "first_at", "folded_first_at")),
            session_tail=_session_tail(reader, filters),
            key=key,
            totals=sql.SQL(" UNION ALL ").join(totals),
            is_after=sql.SQL(" OR ").join(condition.format(key=sql.Identifier("key")) for condition in ranges),
            in_window=in_window,
            matches=_matches(reader, rollup, filters, sql.SQL("candidate.key")),
        )

    [(keys, starts, candidates, last_key, last_at)] = reader.read(compose)
    positions = [StartPosition(*row) for row in zip(starts or [], keys or [], strict=True)]
    page = page_of(positions, limit, lambda position: position)
    if page.last is None and filters.searches and candidates == searched:
        return Page(page.rows, StartPosition(last_at, last_key))
    return page


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
_COLUMNS = (
    *("session_id", "execution_id", "workflow_id", "phase_id", "workspace_id", "agent_id"),
    *("summaries", "first_at", "last_at", "completed_at"),
)
# The condition on '' matches the partial index.
_MEMBERS = sql.SQL("""
WITH {session_tail} tail AS MATERIALIZED ({tail}), named AS MATERIALIZED (
    SELECT session_id FROM billing_session
    WHERE organization_id = %(organization)s AND execution_id = ANY(%(executions)s) AND execution_id <> ''
    UNION SELECT session_id FROM tail WHERE execution_id = ANY(%(executions)s) AND execution_id <> ''
)
SELECT * FROM (SELECT {totals} FROM (
    SELECT {columns} FROM billing_session
    WHERE organization_id = %(organization)s AND session_id = ANY(ARRAY(SELECT session_id FROM named))
    UNION ALL
    SELECT {columns} FROM tail WHERE session_id IN (SELECT session_id FROM named)
) AS total
GROUP BY session_id HAVING max(execution_id) = ANY(%(executions)s)) AS member
WHERE {is_after} AND {in_window} AND {matches}
ORDER BY started_at, session_id LIMIT %(max_members)s
""")
_MEMBERS_AFTER = sql.SQL("(started_at, session_id) > (%(after_at)s, %(after_key)s)")


def list_members(
    reader: RollupReader,
    execution_ids: Sequence[str],
    *,
    filters: EntityFilter = UNFILTERED,
    after: StartPosition | None = None,
    limit: int | None = None,
) -> list[SessionRow]:
    """Return the sessions of the executions, oldest first."""

    def compose(reader: RollupReader) -> sql.Composable:
        reader.parameters.update(executions=list(execution_ids), max_members=limit)
        if after is not None:
            reader.parameters.update(after_at=after.at, after_key=after.key)
        return _MEMBERS.format(
            tail=reader.unfolded(SESSION_TOTALS, _COLUMNS),
            session_tail=_session_tail(reader, filters),
            totals=SESSION_COLUMNS,
            columns=column_list(_COLUMNS),
            is_after=_ALL if after is None else _MEMBERS_AFTER,
            in_window=within(sql.Identifier("started_at"), filters.window, reader.parameters),
            matches=_matches(reader, SESSION_TOTALS, filters, sql.SQL("member.session_id")),
        )

    return [SessionRow(*row) for row in reader.read(compose)]
