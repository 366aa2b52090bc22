"""The tree of workflow runs a page at a time, with what each run and all runs below it cost. Read-only.

The same sums as `billing.reports.runs`, for many runs in one statement. Each page walks along an index, and of a tree
no more than `MAX_WALKED` runs are looked at: a larger one says so (`RunRow.is_cut`), and `costs_of_run` knows all of
it. The tree is the callers' word, so it may hold cycles: each run counts once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString

from django.db import connection
from psycopg import sql

from billing.models import Run
from billing.reports.live_rollups import HAS_UNFOLDED, tail_of
from billing.rollups.definitions import RUN_DAYS
from organizations.models import Organization

Parameters = dict[str, Any]

MAX_WALKED = 2_000
"""Runs of one row's tree that are added up."""
MAX_ANCESTORS = 100


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What calls add up to. Tokens of prompts have the cached ones in them; the cost lacks the `unpriced` events."""

    cost_usd: Decimal
    requests: int
    prompt_tokens: int
    completion_tokens: int
    unpriced: int

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run: `own` is what its own events add up to, `whole` together with all runs below it, each counted once."""

    id: int
    run_id: str
    parent_run_id: str
    workflow_id: str
    first_seen_at: datetime
    runs_below: int
    is_cut: bool
    own: RunFigures
    whole: RunFigures

    @property
    def has_children(self) -> bool:
        return self.runs_below > 0


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, and the id to go on from; None: there are no more."""

    rows: Sequence[RunRow]
    last: int | None


@dataclass(frozen=True, slots=True)
class Ancestors:
    """From the root to the parent, at most the nearest `MAX_ANCESTORS`. Where the line comes back to one of its own
    runs (`is_circle`), each of them once, and without the run itself."""

    run_ids: tuple[str, ...]
    is_circle: bool


_RUNS = sql.SQL("""
SELECT run.id, run.run_id, run.parent_run_id, run.workflow_id, run.created_at FROM billing_run AS run
WHERE run.organization_id = %(organization)s AND {condition} ORDER BY run.id {direction} LIMIT %(enough)s
""")
_ROOTS = sql.SQL("run.parent_run_id = ''")
_OF_WORKFLOW = sql.SQL("run.workflow_id = %(workflow)s AND run.workflow_id <> ''")
_CHILDREN = sql.SQL("run.parent_run_id = %(parent)s AND run.parent_run_id <> ''")
_ONE = sql.SQL("run.run_id = %(run)s")
_BEFORE, _AFTER = sql.SQL("run.id < %(after)s"), sql.SQL("run.id > %(after)s")
_NEWEST_FIRST, _OLDEST_FIRST = sql.SQL("DESC"), sql.SQL("ASC")

_SUMMED = sql.SQL("""
    sum(token_cost_usd + compute_cost_usd) AS cost_usd, sum(requests) AS requests,
    sum(input_tokens + cache_read_tokens + cache_creation_tokens) AS prompt_tokens,
    sum(output_tokens) AS completion_tokens, sum(unpriced) AS unpriced
""")
# What is not folded yet is added up once for all runs. UNION (not UNION ALL) ends cycles, and the LIMIT ends the walk:
# PostgreSQL makes no more of the tree than is asked for.
_FIGURES = sql.SQL("""
WITH page AS MATERIALIZED ({runs}), waiting AS MATERIALIZED (
    SELECT run_id, {summed} FROM ({tail}) AS tail GROUP BY run_id
), walked AS MATERIALIZED (
    SELECT page.run_id AS root, below.run_id FROM page CROSS JOIN LATERAL (
        WITH RECURSIVE tree (run_id) AS (
            SELECT page.run_id
            UNION
            SELECT child.run_id FROM tree JOIN billing_run AS child
                ON child.organization_id = %(organization)s AND child.parent_run_id = tree.run_id
                AND child.parent_run_id <> ''
        ) SELECT run_id FROM tree LIMIT %(most)s + 1
    ) AS below
), cost AS (
    SELECT walked.root, walked.run_id, {columns}
    FROM walked CROSS JOIN LATERAL (
        SELECT {summed} FROM {table}
        WHERE organization_id = %(organization)s AND run_id = walked.run_id
    ) AS folded LEFT JOIN waiting ON waiting.run_id = walked.run_id
), figures AS (
    SELECT root, count(*) AS runs, {own}, {whole} FROM cost GROUP BY root
)
SELECT {has_unfolded}, page.*, figures.* FROM (VALUES (1)) AS once
LEFT JOIN (page JOIN figures ON figures.root = page.run_id) ON true ORDER BY page.id {direction}
""")
_MEASURES = ("cost_usd", "requests", "prompt_tokens", "completion_tokens", "unpriced")

_ANCESTORS = sql.SQL("""
WITH RECURSIVE line (run_id, parent_run_id, distance) AS (
    SELECT run_id, parent_run_id, 0 FROM billing_run WHERE organization_id = %(organization)s AND run_id = %(run)s
    UNION ALL
    SELECT parent.run_id, parent.parent_run_id, line.distance + 1 FROM line JOIN billing_run AS parent
        ON parent.organization_id = %(organization)s AND parent.run_id = line.parent_run_id
    WHERE line.parent_run_id <> '' AND line.distance < %(most)s
) CYCLE run_id SET is_again USING path
SELECT run_id, is_again FROM line WHERE distance > 0 ORDER BY distance DESC
""")


def newest_runs(*, organization: Organization, workflow_id: str, after: int | None, limit: int) -> RunPage:
    """Runs without a parent, or all runs of a workflow, the newest first."""
    condition = _OF_WORKFLOW if workflow_id else _ROOTS
    return _page(organization, condition, _NEWEST_FIRST, after, limit, {"workflow": workflow_id})


def children_of(*, organization: Organization, run_id: str, after: int | None, limit: int) -> RunPage:
    """The runs that name this one as their parent, in the order in which they were seen first."""
    return _page(organization, _CHILDREN, _OLDEST_FIRST, after, limit, {"parent": run_id})


def run_row(*, organization: Organization, run_id: str) -> RunRow | None:
    """One run; None: nobody has named it."""
    page = _page(organization, _ONE, _OLDEST_FIRST, None, 1, {"run": run_id})
    return page.rows[0] if page.rows else None


def run_named(*, organization: Organization, run_id: str) -> Run | None:
    """One run without its figures."""
    return Run.objects.of(organization).filter(run_id=run_id).first() if "\0" not in run_id else None


def ancestors_of(*, organization: Organization, run_id: str) -> Ancestors:
    with connection.cursor() as cursor:
        cursor.execute(_ANCESTORS, {"organization": organization.pk, "run": run_id, "most": MAX_ANCESTORS})
        line = cursor.fetchall()
    return Ancestors(
        tuple(ancestor for ancestor, is_again in line if not is_again), is_circle=any(is_again for _, is_again in line)
    )


def _page(
    organization: Organization,
    condition: sql.Composable,
    direction: sql.SQL,
    after: int | None,
    limit: int,
    values: Parameters,
) -> RunPage:
    # No text in the database has a NUL, and PostgreSQL would not take the question.
    if any("\0" in value for value in values.values()):
        return RunPage((), None)
    parameters = {**values, "organization": organization.pk, "enough": limit + 1, "most": MAX_WALKED}
    if after is not None:
        parameters["after"] = after
        condition = sql.SQL(" AND ").join([condition, _BEFORE if direction is _NEWEST_FIRST else _AFTER])
    runs = _RUNS.format(condition=condition, direction=direction)
    found = _ask(runs, direction, parameters, has_unfolded=False)
    if found[0][0]:
        found = _ask(runs, direction, parameters, has_unfolded=True)
    rows = [_row(row[1:]) for row in found if row[1] is not None]
    return RunPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


def _ask(
    runs: sql.Composable, direction: sql.Composable, parameters: Parameters, *, has_unfolded: bool
) -> list[tuple[Any, ...]]:
    """At least one row, which tells whether something waits."""
    statement = _FIGURES.format(
        runs=runs,
        summed=_SUMMED,
        tail=tail_of(RUN_DAYS, has_unfolded=has_unfolded),
        table=sql.Identifier(RUN_DAYS.table),
        columns=_each("coalesce(folded.{0}, 0) + coalesce(waiting.{0}, 0) AS {0}"),
        own=_each("sum({0}) FILTER (WHERE run_id = root)"),
        whole=_each("sum({0})"),
        has_unfolded=HAS_UNFOLDED,
        direction=direction,
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _each(expression: LiteralString) -> sql.Composed:
    """The expression for each measure."""
    return sql.SQL(", ").join(sql.SQL(expression).format(sql.Identifier(measure)) for measure in _MEASURES)


def _row(told: Sequence[Any]) -> RunRow:
    """A run's five columns, then its id again, how many runs were walked, and the sums of `own` and `whole`."""
    number, run_id, parent_run_id, workflow_id, created_at, _, walked, *sums = told
    return RunRow(
        id=number,
        run_id=run_id,
        parent_run_id=parent_run_id,
        workflow_id=workflow_id,
        first_seen_at=created_at,
        # The run itself is walked, too, and one more than may be where there are more.
        runs_below=min(walked, MAX_WALKED) - 1,
        is_cut=walked > MAX_WALKED,
        own=_figures(sums[: len(_MEASURES)]),
        whole=_figures(sums[len(_MEASURES) :]),
    )


def _figures(sums: Sequence[Any]) -> RunFigures:
    cost, *counts = sums
    return RunFigures(cost, *(int(count) for count in counts))
