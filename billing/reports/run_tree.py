"""Pages of the workflow run tree, with the cost of each run alone and with all its descendants. Read-only.

The sums are those of `billing.reports.runs`, for many runs in one statement. Pages follow an index, and at most
`MAX_WALKED` runs of a tree are visited; larger trees are marked (`RunRow.is_truncated`), and `get_run_costs` has their
full cost. Parents are reported by callers, so trees may contain cycles: each run counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, LiteralString

from psycopg import sql

from billing.reports.cursors import Page, StartPosition, page_of
from billing.reports.rollup_query import Sums
from billing.reports.rollup_reader import RollupReader, read_rollups
from billing.reports.sql import Parameters, within
from billing.rollups.definitions import RUN_DAYS
from billing.rollups.sql import all_true
from billing.rollups.workflows import children_of
from costtrack.calendar import ALWAYS, Window, utc_day
from costtrack.database.queries import fetch_rows
from costtrack.errors import InvalidError
from organizations.models import Organization

MAX_WALKED = 2_000
"""Maximum number of runs of a tree that are summed."""
MAX_ANCESTORS = 100
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run. `own` are the sums of its own events, `total` include all its descendants, each counted once; `first_at`
    and `last_at` are when the first and the last of these events occurred, None without events in the history."""

    id: int
    run_id: str
    parent_run_id: str
    workflow_id: str
    first_seen_at: datetime
    first_at: datetime | None
    last_at: datetime | None
    runs_below: int
    is_truncated: bool
    own: Sums
    total: Sums

    @property
    def has_children(self) -> bool:
        return self.runs_below > 0


RunPage = Page[RunRow, int]
"""A page of runs; `last` is the id of a row."""


@dataclass(frozen=True, slots=True)
class RunListFilter:
    """Filters of runs; empty means any. The window is that of the first time they were seen. `is_root`: without a
    parent, or with one."""

    window: Window = ALWAYS
    workflow_id: str = ""
    parent_run_id: str = ""
    is_root: bool | None = None


@dataclass(frozen=True, slots=True)
class Ancestors:
    """Ancestors from the root to the parent, limited to the nearest `MAX_ANCESTORS`. In a cycle (`has_cycle`) each
    ancestor is listed once, without the run itself."""

    run_ids: tuple[str, ...]
    has_cycle: bool


_RUNS = sql.SQL("""
SELECT run.id, run.run_id, run.parent_run_id, run.workflow_id, run.created_at FROM billing_run AS run
WHERE run.organization_id = %(organization)s AND {condition} ORDER BY {order} LIMIT %(enough)s
""")
_ROOTS = sql.SQL("run.parent_run_id = ''")
_OF_WORKFLOW = sql.SQL("run.workflow_id = %(workflow)s AND run.workflow_id <> ''")
_CHILDREN = sql.SQL("run.parent_run_id = %(parent)s AND run.parent_run_id <> ''")
_BY_RUN_ID = sql.SQL("run.run_id = %(run)s")
_BEFORE, _AFTER = sql.SQL("run.id < %(after)s"), sql.SQL("run.id > %(after)s")
_NEWEST_FIRST, _OLDEST_FIRST = sql.SQL("run.id DESC"), sql.SQL("run.id")
_LATEST_FIRST = sql.SQL("run.created_at DESC, run.id DESC")
_BEFORE_POSITION = sql.SQL("(run.created_at, run.id) < (%(after_at)s, %(after_id)s)")

_SUMMED = sql.SQL("""
    sum(requests) AS requests, sum(unpriced) AS unpriced,
    sum(input_tokens + cache_read_tokens + cache_creation_tokens) AS prompt_tokens,
    sum(output_tokens) AS completion_tokens, sum(token_cost_usd + compute_cost_usd) AS cost,
    min(first_at) AS first_at, max(last_at) AS last_at
""")
# Unfolded events are summed once for all runs. UNION (not UNION ALL) ends cycles, and the LIMIT ends the recursion.
_FIGURES = sql.SQL("""
WITH page AS MATERIALIZED ({runs}), unfolded AS MATERIALIZED (
    SELECT run_id, {summed} FROM ({tail}) AS tail WHERE {in_history} GROUP BY run_id
), walked AS MATERIALIZED (
    SELECT page.run_id AS root, below.run_id FROM page CROSS JOIN LATERAL (
        WITH RECURSIVE tree (run_id) AS (
            SELECT page.run_id
            UNION
            SELECT child.run_id FROM tree CROSS JOIN LATERAL ({children}) AS child
        ) SELECT run_id FROM tree LIMIT %(max_runs)s + 1
    ) AS below
), cost AS (
    SELECT walked.root, walked.run_id, {columns},
        least(folded.first_at, unfolded.first_at) AS first_at, greatest(folded.last_at, unfolded.last_at) AS last_at
    FROM walked CROSS JOIN LATERAL (
        SELECT {summed} FROM {table}
        WHERE organization_id = %(organization)s AND run_id = walked.run_id AND {in_history}
    ) AS folded LEFT JOIN unfolded ON unfolded.run_id = walked.run_id
), figures AS (
    SELECT root, count(*) AS runs, min(first_at), max(last_at), {own}, {total} FROM cost GROUP BY root
)
SELECT page.*, figures.* FROM page JOIN figures ON figures.root = page.run_id
""")
_ALL_DAYS, _SINCE = sql.SQL("true"), sql.SQL("day >= {}")
_MEASURES = ("requests", "unpriced", "prompt_tokens", "completion_tokens", "cost")

_ANCESTORS = sql.SQL("""
WITH RECURSIVE line (run_id, parent_run_id, distance) AS (
    SELECT run_id, parent_run_id, 0 FROM billing_run WHERE organization_id = %(organization)s AND run_id = %(run)s
    UNION ALL
    SELECT parent.run_id, parent.parent_run_id, line.distance + 1 FROM line JOIN billing_run AS parent
        ON parent.organization_id = %(organization)s AND parent.run_id = line.parent_run_id
    WHERE line.parent_run_id <> '' AND line.distance < %(max_runs)s
) CYCLE run_id SET is_again USING path
SELECT run_id, is_again FROM line WHERE distance > 0 ORDER BY distance DESC
""")


def list_runs(
    *, organization: Organization, workflow_id: str, since: datetime | None = None, after: int | None, limit: int
) -> RunPage:
    """Return root runs, or all runs of a workflow, newest first. Sums are of the UTC days from `since` on."""
    condition = _OF_WORKFLOW if workflow_id else _ROOTS
    return _page(organization, condition, _NEWEST_FIRST, since, after, limit, {"workflow": workflow_id})


def list_runs_by_time(
    *,
    organization: Organization,
    filters: RunListFilter,
    since: datetime | None = None,
    after: StartPosition | None,
    limit: int,
) -> Page[RunRow, StartPosition]:
    """Return the runs that match the filters, the latest first by the time when they were first seen. Sums are of the
    UTC days from `since` on."""
    values: Parameters = {"workflow": filters.workflow_id, "parent": filters.parent_run_id}
    conditions = [within(sql.Identifier("run", "created_at"), filters.window, values)]
    if filters.workflow_id:
        conditions.append(_OF_WORKFLOW)
    if filters.parent_run_id:
        conditions.append(_CHILDREN)
    if filters.is_root is not None:
        conditions.append(_ROOTS if filters.is_root else sql.SQL("run.parent_run_id <> ''"))
    if after is not None:
        conditions.append(_BEFORE_POSITION)
        values |= {"after_at": after.at, "after_id": _row_id(after)}
    runs = _RUNS.format(condition=all_true(conditions), order=_LATEST_FIRST)
    rows = _rows(organization, runs, since, limit, values)
    rows.sort(key=attrgetter("first_seen_at", "id"), reverse=True)
    return page_of(rows, limit, lambda row: StartPosition(row.first_seen_at, str(row.id)))


def _row_id(position: StartPosition) -> int:
    if not position.key.isascii() or not position.key.isdecimal() or len(position.key) > _MAX_DIGITS:
        raise InvalidError("Invalid cursor. Remove it to start from the first page.", param="cursor")
    return int(position.key)


def list_child_runs(
    *, organization: Organization, run_id: str, since: datetime | None = None, after: int | None, limit: int
) -> RunPage:
    """Return the direct children of a run, in the order in which they were first seen."""
    return _page(organization, _CHILDREN, _OLDEST_FIRST, since, after, limit, {"parent": run_id})


def get_run_row(*, organization: Organization, run_id: str, since: datetime | None = None) -> RunRow | None:
    """Return one run with its sums, or None if it is unknown."""
    page = _page(organization, _BY_RUN_ID, _OLDEST_FIRST, since, None, 1, {"run": run_id})
    return page.rows[0] if page.rows else None


def get_run_ancestors(*, organization: Organization, run_id: str) -> Ancestors:
    line = fetch_rows(_ANCESTORS, {"organization": organization.pk, "run": run_id, "max_runs": MAX_ANCESTORS})
    return Ancestors(
        tuple(ancestor for ancestor, is_again in line if not is_again), has_cycle=any(is_again for _, is_again in line)
    )


def _page(
    organization: Organization,
    condition: sql.Composable,
    direction: sql.SQL,
    since: datetime | None,
    after: int | None,
    limit: int,
    values: Parameters,
) -> RunPage:
    if after is not None:
        condition = all_true([condition, _BEFORE if direction is _NEWEST_FIRST else _AFTER])
    runs = _RUNS.format(condition=condition, order=direction)
    run_rows = _rows(organization, runs, since, limit, {**values, "after": after})
    run_rows.sort(key=attrgetter("id"), reverse=direction is _NEWEST_FIRST)
    return page_of(run_rows, limit, attrgetter("id"))


def _rows(
    organization: Organization, runs: sql.Composable, since: datetime | None, limit: int, values: Parameters
) -> list[RunRow]:
    """Return up to `limit` runs, and one more if there are more, in any order."""
    if any("\0" in value for value in values.values() if isinstance(value, str)):
        return []  # PostgreSQL text cannot contain NUL

    def compose(reader: RollupReader) -> sql.Composable:
        reader.parameters.update(values, enough=limit + 1, max_runs=MAX_WALKED)
        in_history = _ALL_DAYS if since is None else _SINCE.format(reader.bind(utc_day(since)))
        return _FIGURES.format(
            runs=runs,
            children=children_of("tree"),
            in_history=in_history,
            summed=_SUMMED,
            tail=reader.unfolded(RUN_DAYS),
            table=sql.Identifier(RUN_DAYS.table),
            columns=_each("coalesce(folded.{0}, 0) + coalesce(unfolded.{0}, 0) AS {0}"),
            own=_each("sum({0}) FILTER (WHERE run_id = root)"),
            total=_each("sum({0})"),
        )

    return [_row(row) for row in read_rollups(organization, compose)]


def _each(expression: LiteralString) -> sql.Composed:
    """Format the expression for each measure."""
    return sql.SQL(", ").join(sql.SQL(expression).format(sql.Identifier(measure)) for measure in _MEASURES)


def _row(row: Sequence[Any]) -> RunRow:
    """Build a row from five columns of the run, its id again, the number of visited runs, the first and the last time
    of an event, and the sums of `own` and `total`."""
    number, run_id, parent_run_id, workflow_id, created_at, _, walked, first_at, last_at, *sums = row
    return RunRow(
        id=number,
        run_id=run_id,
        parent_run_id=parent_run_id,
        workflow_id=workflow_id,
        first_seen_at=created_at,
        first_at=first_at,
        last_at=last_at,
        # The run itself is visited too, and one run more than the limit if there are more.
        runs_below=min(walked, MAX_WALKED) - 1,
        is_truncated=walked > MAX_WALKED,
        own=_sums(run_id, sums[: len(_MEASURES)]),
        total=_sums(run_id, sums[len(_MEASURES) :]),
    )


def _sums(run_id: str, values: Sequence[Any]) -> Sums:
    requests, unpriced, prompt_tokens, completion_tokens, cost = values
    return Sums((run_id,), int(requests), int(unpriced), int(prompt_tokens), int(completion_tokens), cost)
