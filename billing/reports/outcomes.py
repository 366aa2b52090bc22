"""The cost of outcomes: what a success costs, and what failures, retries and abandoned runs cost. Read-only.

Usage counts in the period in which it occurred, as in the explorer, and under the outcome that its run or session has
now, so late outcomes and late events are both right. Each event belongs to one unit of work: its session, if that has
an outcome; else the nearest run with an outcome, from its own run upward; else the topmost run, or the session. Each
unit has one state, so the costs of all states add up to the usage of the period.

Single events are read, up to a limit (`billing.reports.usage.ledger_usage`).
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

import msgspec
from psycopg import sql

from billing.models import Outcome
from billing.reports.cursors import Page, page_of
from billing.reports.rollup_reader import RollupReader, read_rollups
from billing.reports.usage.figures import GroupBy, UsageFilter
from billing.reports.usage.totals import columns_of, key_of, usage_rows
from costtrack.calendar import ALWAYS, Span, Window
from costtrack.errors import InvalidError
from costtrack.ids import first_id_of
from costtrack.money import ZERO, plain
from organizations.models import Organization

IDLE = timedelta(hours=24)
"""A unit without an outcome is abandoned when it has had no usage for this time."""
MAX_DEPTH = 50
"""How many runs above a run are searched for an outcome."""
MAX_CURSOR_LENGTH = 4_000
GROUPS = tuple(
    by for by in GroupBy if by not in (GroupBy.STATUS, GroupBy.SESSION, GroupBy.RUN, GroupBy.TAG, GroupBy.TOOL)
)
"""What the costs of outcomes are grouped by."""


class WorkState(StrEnum):
    """The state of a unit of work, by its outcome.

    `OPEN` and `ABANDONED` have no outcome. `UNTRACKED` is work without an outcome whose workflow has no outcome in the
    period either. `OTHER` is usage that belongs to no run or session.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"
    OPEN = "open"
    UNTRACKED = "untracked"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class WorkCost:
    """Units of work and their cost."""

    count: int = 0
    cost_usd: Decimal = ZERO

    def __add__(self, other: "WorkCost") -> "WorkCost":
        return WorkCost(self.count + other.count, self.cost_usd + other.cost_usd)


NO_WORK = WorkCost()


@dataclass(frozen=True, slots=True)
class OutcomeCost:
    """The costs of a group. `retries` are units whose outcome is of a later attempt than the first, and
    `failed_calls_usd` is what failed calls cost; both are part of the states."""

    key: str
    states: Mapping[WorkState, WorkCost] = field(default_factory=dict)
    retries: WorkCost = NO_WORK
    failed_calls_usd: Decimal = ZERO
    value_usd: Decimal = ZERO
    unpriced_events: int = 0

    def of(self, state: WorkState) -> WorkCost:
        return self.states.get(state, NO_WORK)

    @property
    def cost_usd(self) -> Decimal:
        """All usage of the group."""
        return sum((work.cost_usd for work in self.states.values()), ZERO)

    @property
    def decided(self) -> WorkCost:
        """The work that is done: succeeded, failed or abandoned."""
        return self.of(WorkState.SUCCEEDED) + self.of(WorkState.FAILED) + self.of(WorkState.ABANDONED)

    @property
    def cost_per_success_usd(self) -> Decimal | None:
        """What a success costs, with the cost of failed and abandoned work; None without a success."""
        successes = self.of(WorkState.SUCCEEDED).count
        return self.decided.cost_usd / successes if successes else None

    @property
    def success_rate(self) -> float | None:
        """From 0 to 1; None if nothing is decided."""
        decided = self.decided.count
        return round(self.of(WorkState.SUCCEEDED).count / decided, 6) if decided else None


@dataclass(frozen=True, slots=True)
class OutcomeCosts:
    """A page of groups, the most expensive first, and all usage. `next_cursor` is None on the last page."""

    rows: Sequence[OutcomeCost]
    total: OutcomeCost
    next_cursor: str | None


_RESULT = sql.SQL("""
    SELECT bool_or(is_success) AS is_success, sum(value_usd) FILTER (WHERE is_success) AS value_usd,
        max(attempt) AS attempt
    FROM billing_outcome AS outcome
    WHERE organization_id = %(organization)s AND {column} = {value} AND {column} <> '' AND {named}
""")
_STATEMENT = sql.SQL("""
WITH RECURSIVE usage AS MATERIALIZED (
    SELECT cost.run_id, cost.session_id, ({key})::text COLLATE "C" AS key, ({workflow})::text AS workflow,
        max(at) AS last_at, sum(token_cost_usd + compute_cost_usd) AS cost_usd,
        coalesce(sum(token_cost_usd + compute_cost_usd) FILTER (WHERE status = 'failure'), 0) AS failed_usd,
        sum(unpriced) AS unpriced
    FROM ({rows}) AS cost {joined}
    GROUP BY 1, 2, 3, 4
), above (run_id, ancestor, depth) AS (
    SELECT DISTINCT run_id, run_id, 0 FROM usage WHERE run_id <> ''
    UNION
    SELECT above.run_id, run.parent_run_id, above.depth + 1
    FROM above JOIN billing_run AS run
        ON run.organization_id = %(organization)s AND run.run_id = above.ancestor AND run.parent_run_id <> ''
    WHERE above.depth < {max_depth}
), of_runs AS (
    SELECT DISTINCT ON (above.run_id) above.run_id, above.ancestor, result.*
    FROM above CROSS JOIN LATERAL ({result_of_run}) AS result
    ORDER BY above.run_id, result.is_success IS NULL,
        CASE WHEN result.is_success IS NULL THEN -above.depth ELSE above.depth END
), of_sessions AS (
    SELECT named.session_id, result.*
    FROM (SELECT DISTINCT session_id FROM usage WHERE session_id <> '') AS named
    CROSS JOIN LATERAL ({result_of_session}) AS result
), work AS MATERIALIZED (
    SELECT usage.*,
        CASE
            WHEN of_sessions.is_success IS NOT NULL THEN 's' || usage.session_id
            WHEN usage.run_id <> '' THEN 'r' || of_runs.ancestor
            WHEN usage.session_id <> '' THEN 's' || usage.session_id
        END AS unit,
        coalesce(of_sessions.is_success, of_runs.is_success) AS is_success,
        CASE WHEN of_sessions.is_success IS NULL THEN of_runs.value_usd ELSE of_sessions.value_usd END AS value_usd,
        coalesce(of_sessions.attempt, of_runs.attempt) AS attempt
    FROM usage LEFT JOIN of_runs USING (run_id) LEFT JOIN of_sessions USING (session_id)
), units AS (
    SELECT unit, bool_or(is_success) AS is_success, max(workflow) AS workflow,
        is_success IS NULL AND (
            max(last_at) >= {idle_since} OR bool_or({is_active_run}) OR bool_or({is_active_session})
        ) AS is_active
    FROM work WHERE unit IS NOT NULL GROUP BY unit, is_success
), states AS (
    SELECT unit,
        CASE
            WHEN is_success THEN 'succeeded'
            WHEN NOT is_success THEN 'failed'
            WHEN NOT bool_or(is_success IS NOT NULL) OVER (PARTITION BY workflow) THEN 'untracked'
            WHEN is_active THEN 'open'
            ELSE 'abandoned'
        END AS state
    FROM units
), by_unit AS (
    SELECT grouping(key) = 1 AS is_total, key, unit, sum(cost_usd) AS cost_usd, sum(failed_usd) AS failed_usd,
        sum(unpriced) AS unpriced, max(value_usd) AS value_usd, max(attempt) AS attempt
    FROM work GROUP BY GROUPING SETS ((key, unit), (unit))
), page AS (
    SELECT key, sum(cost_usd) AS group_usd FROM by_unit WHERE NOT is_total
    GROUP BY key HAVING {after}
    ORDER BY group_usd DESC, key LIMIT {limit}
)
SELECT by_unit.is_total, coalesce(by_unit.key, ''), page.group_usd, coalesce(states.state, 'other'),
    count(by_unit.unit), sum(by_unit.cost_usd),
    count(by_unit.unit) FILTER (WHERE by_unit.attempt > 1),
    coalesce(sum(by_unit.cost_usd) FILTER (WHERE by_unit.attempt > 1), 0),
    sum(by_unit.failed_usd), coalesce(sum(by_unit.value_usd), 0), sum(by_unit.unpriced)::bigint
FROM by_unit LEFT JOIN states USING (unit) LEFT JOIN page ON page.key = by_unit.key AND NOT by_unit.is_total
WHERE by_unit.is_total OR page.key IS NOT NULL
GROUP BY 1, 2, 3, 4
ORDER BY 1 DESC, 3 DESC, 2, 4
""")
# A receipt is never earlier than the usage, apart from clocks that are ahead, so old partitions are not read. The index
# has no events without the column, which the planner does not conclude from the other side of the comparison: without
# the last condition all recent events would be read for each unit.
_HAS_USAGE_SINCE = sql.SQL("""
    work.{column} <> '' AND EXISTS (
        SELECT FROM billing_usageevent AS event
        WHERE event.organization_id = %(organization)s AND event.id >= {first_id} AND event.{column} = work.{column}
            AND event.occurred_at >= {since} AND event.{column} <> ''
    )
""")


def outcome_costs(
    *,
    organization: Organization,
    filters: UsageFilter,
    window: Span,
    by: GroupBy,
    now: datetime,
    name: str = "",
    after: str = "",
    limit: int = 100,
) -> OutcomeCosts:
    """Return a page of groups and the total. `name`: only outcomes of this name count. Raises InvalidError for an
    invalid cursor, or if the period has too many events to read."""
    columns = columns_of([by, GroupBy.WORKFLOW]) | {"run_id", "session_id"}
    rows = usage_rows(organization, filters, [Window(*window)], columns)
    position = _decode(after) if after else None

    def compose(reader: RollupReader) -> sql.Composable:
        return _compose(reader, rows(reader), by=by, name=name, now=now, after=position, limit=limit + 1)

    return _page(read_rollups(organization, compose), limit)


@dataclass(frozen=True, slots=True)
class OutcomeFilter:
    """Filters of stored outcomes; empty means any. `window` is of their time."""

    window: Window = ALWAYS
    name: str = ""
    run_id: str = ""
    session_id: str = ""
    is_success: bool | None = None


def list_outcomes(
    *, organization: Organization, filters: OutcomeFilter, after: int | None, limit: int
) -> Page[Outcome, int]:
    """Return a page of outcomes, the last stored first. `after` is the id of the last one of the previous page."""
    outcomes = Outcome.objects.of(organization).order_by("-id")
    named = {name: getattr(filters, name) for name in ("name", "run_id", "session_id") if getattr(filters, name)}
    outcomes = outcomes.filter(**named)
    if filters.is_success is not None:
        outcomes = outcomes.filter(is_success=filters.is_success)
    if filters.window.start is not None:
        outcomes = outcomes.filter(occurred_at__gte=filters.window.start)
    if filters.window.end is not None:
        outcomes = outcomes.filter(occurred_at__lt=filters.window.end)
    if after is not None:
        outcomes = outcomes.filter(id__lt=after)
    return page_of(list(outcomes[: limit + 1]), limit, lambda outcome: outcome.pk)


def _compose(
    reader: RollupReader,
    rows: sql.Composable,
    *,
    by: GroupBy,
    name: str,
    now: datetime,
    after: tuple[Decimal, str] | None,
    limit: int,
) -> sql.Composable:
    key, joined = key_of(by)
    workflow, run = key_of(GroupBy.WORKFLOW)
    since, first_id = reader.bind(now - IDLE), reader.bind(first_id_of(now - IDLE))
    named: sql.Composable = sql.SQL("true")
    if name:
        named = sql.SQL("name = {}").format(reader.bind(name))
    is_after: sql.Composable = sql.SQL("true")
    if after is not None:
        is_after = sql.SQL('(-sum(cost_usd), key) > (-({})::numeric, {}::text COLLATE "C")').format(
            *map(reader.bind, after)
        )

    def result(column: str, value: sql.Composable) -> sql.Composable:
        return _RESULT.format(column=sql.Identifier(column), value=value, named=named)

    def is_active(column: str) -> sql.Composable:
        return _HAS_USAGE_SINCE.format(column=sql.Identifier(column), since=since, first_id=first_id)

    return _STATEMENT.format(
        key=key,
        workflow=workflow,
        rows=rows,
        joined=run if by is GroupBy.WORKFLOW else sql.SQL(" ").join([run, joined]),
        max_depth=sql.Literal(MAX_DEPTH),
        result_of_run=result("run_id", sql.SQL("above.ancestor")),
        result_of_session=result("session_id", sql.SQL("named.session_id")),
        idle_since=since,
        is_active_run=is_active("run_id"),
        is_active_session=is_active("session_id"),
        after=is_after,
        limit=reader.bind(limit),
    )


def _page(rows: Sequence[tuple[object, ...]], limit: int) -> OutcomeCosts:
    total = OutcomeCost("")
    groups: dict[str, OutcomeCost] = {}
    for is_total, key, _, *values in rows:
        name = str(key)
        if is_total:
            total = _with_state(total, values)
        else:
            groups[name] = _with_state(groups.get(name, OutcomeCost(name)), values)
    shown = list(groups.values())
    cursor = None
    if len(shown) > limit:
        shown = shown[:limit]
        cursor = _encode(shown[-1])
    return OutcomeCosts(shown, total, cursor)


def _with_state(cost: OutcomeCost, values: Sequence[Any]) -> OutcomeCost:
    state, count, cost_usd, retries, retries_usd, failed_usd, value_usd, unpriced = values
    return OutcomeCost(
        key=cost.key,
        states={**cost.states, WorkState(state): WorkCost(count, cost_usd)},
        retries=cost.retries + WorkCost(retries, retries_usd),
        failed_calls_usd=cost.failed_calls_usd + failed_usd,
        value_usd=cost.value_usd + value_usd,
        unpriced_events=cost.unpriced_events + unpriced,
    )


def _encode(cost: OutcomeCost) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([plain(cost.cost_usd), cost.key])).decode()


def _decode(cursor: str) -> tuple[Decimal, str]:
    try:
        amount, key = msgspec.json.decode(base64.b64decode(cursor, altchars="-_", validate=True), type=tuple[str, str])
        usd = Decimal(amount)
        is_valid = usd.is_finite() and "\0" not in key
    except (ValueError, binascii.Error, msgspec.DecodeError, InvalidOperation):
        is_valid = False
    if not is_valid:
        raise InvalidError("Invalid cursor. Remove it to start from the first page.", param="cursor")
    return usd, key
