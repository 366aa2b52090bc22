"""Totals over all sessions (document 003). Read-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from psycopg import sql

from billing.models import DroppedMonth, Session
from billing.reports.rollup_reader import RollupReader
from billing.reports.sessions.session_rows import SUMS, CostRow, Totals, cost_by_model
from billing.rollups.definitions import EXECUTION_TOTALS, SESSION_COSTS, SESSION_MODELS, SESSION_TOTALS, Rollup
from organizations.models import Organization

_TOP_COUNT = 5


class TopSession(NamedTuple):
    """A session; `tokens` are input and output, without caches."""

    session_id: str
    cost_usd: Decimal
    tokens: int


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """Totals over all sessions; events without a session are excluded. Both lists have the most expensive first; ties
    are ordered by name."""

    totals: Totals
    sessions: int
    executions: int
    top_models: Sequence[tuple[str, Decimal]]
    top_sessions: Sequence[TopSession]


_MODELS = sql.SQL("""
SELECT '' AS owner, '' AS phase, service, model, '' AS tool, {sums} FROM {table} AS total
WHERE organization_id = %(organization)s GROUP BY service, model
""")
# Folded sessions and executions are counted already; unfolded events may add new ones.
_COUNTS = sql.SQL("""
SELECT
    coalesce(sum(state.sessions), 0)::bigint
        + (SELECT count(*) FROM ({sessions}) AS unfolded WHERE folded_first_at IS NULL),
    coalesce(sum(state.executions), 0)::bigint
        + (SELECT count(*) FROM ({executions}) AS unfolded WHERE folded_first_at IS NULL)
FROM billing_ledgerstate AS state WHERE organization_id = %(organization)s
""")
_COST = sql.SQL("token_cost_usd + compute_cost_usd")
_TOKENS = sql.SQL("input_tokens + output_tokens")

# The first rows by the index, combined with the sessions whose rows have to be summed. New sessions have no folded row.
_TOP = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), combined AS MATERIALIZED (
    {in_two_rows} UNION SELECT session_id FROM tail WHERE folded_first_at IS NOT NULL
)
SELECT session_id, cost, tokens::bigint FROM (
    (SELECT session_id, {cost} AS cost, {tokens} AS tokens FROM billing_session
    WHERE organization_id = %(organization)s AND session_id NOT IN (SELECT session_id FROM combined)
    ORDER BY {cost} DESC, session_id LIMIT %(top)s)
    UNION ALL
    SELECT session_id, sum(cost), sum(tokens) FROM (
        SELECT session_id, {cost} AS cost, {tokens} AS tokens FROM billing_session
        WHERE organization_id = %(organization)s AND session_id = ANY(ARRAY(SELECT session_id FROM combined))
        UNION ALL SELECT session_id, {cost}, {tokens} FROM tail
    ) AS session_row GROUP BY session_id
) AS session
ORDER BY cost DESC, session_id LIMIT %(top)s
""")
_TOP_COLUMNS = (
    *("session_id", "folded_first_at"),
    *("token_cost_usd", "compute_cost_usd", "input_tokens", "output_tokens"),
)
# A session has a second row if some of its events were dropped. The primary key is enough to find it.
_IN_TWO_ROWS = sql.SQL("""
SELECT session_id FROM billing_session WHERE organization_id = %(organization)s
GROUP BY session_id HAVING count(*) > 1
""")
_NONE = sql.SQL("SELECT session_id FROM billing_session WHERE false")


# Sessions that started in the visible history. A session has a second row if some of its events were dropped.
_VISIBLE = sql.SQL("""
SELECT {key} FROM {table} AS started WHERE organization_id = %(organization)s
GROUP BY {key} HAVING min(first_at) >= {since}
""")
_VISIBLE_COUNTS = sql.SQL("SELECT (SELECT count(*) FROM ({}) AS session), (SELECT count(*) FROM ({}) AS execution)")
_VISIBLE_MODELS = sql.SQL("""
SELECT '' AS owner, '' AS phase, service, model, '' AS tool, {sums} FROM {table} AS total
WHERE organization_id = %(organization)s AND session_id IN ({visible}) GROUP BY service, model
""")
_VISIBLE_TOP = sql.SQL("""
SELECT session_id, sum({cost}) AS cost, sum({tokens})::bigint FROM {table} AS total
WHERE organization_id = %(organization)s AND session_id IN ({visible})
GROUP BY session_id ORDER BY cost DESC, session_id LIMIT {top}
""")


def get_session_summary(*, organization: Organization, since: datetime | None = None) -> SessionSummary:
    """Return the totals of all sessions, or of those that started since the start of the visible history."""
    if since is not None and Session.objects.of(organization).filter(first_at__lt=since).exists():
        return _summary_since(organization, since)
    reader = RollupReader(organization)
    [(sessions, executions)] = reader.read(
        lambda reader: _COUNTS.format(
            sessions=reader.unfolded(SESSION_TOTALS, ("folded_first_at",)),
            executions=reader.unfolded(EXECUTION_TOTALS, ("folded_first_at",)),
        )
    )
    by_model = reader.read(lambda reader: _MODELS.format(table=reader.table(SESSION_MODELS), sums=SUMS))
    rows = [CostRow(*row) for row in by_model]
    models = sorted(cost_by_model(rows).items(), key=lambda item: (-item[1], item[0]))
    return SessionSummary(
        totals=Totals.of(rows),
        sessions=sessions,
        executions=executions,
        top_models=models[:_TOP_COUNT],
        top_sessions=_top_sessions(organization, reader),
    )


def _summary_since(organization: Organization, since: datetime) -> SessionSummary:
    def visible(reader: RollupReader, rollup: Rollup) -> sql.Composable:
        key = sql.Identifier(rollup.dimensions[0].column)
        return _VISIBLE.format(key=key, table=reader.table(rollup), since=reader.bind(since))

    def counts(reader: RollupReader) -> sql.Composable:
        return _VISIBLE_COUNTS.format(visible(reader, SESSION_TOTALS), visible(reader, EXECUTION_TOTALS))

    def by_model(reader: RollupReader) -> sql.Composable:
        sessions = visible(reader, SESSION_TOTALS)
        return _VISIBLE_MODELS.format(table=reader.table(SESSION_COSTS), sums=SUMS, visible=sessions)

    def top(reader: RollupReader) -> sql.Composable:
        sessions = visible(reader, SESSION_TOTALS)
        table, limit = reader.table(SESSION_TOTALS), reader.bind(_TOP_COUNT)
        return _VISIBLE_TOP.format(table=table, cost=_COST, tokens=_TOKENS, visible=sessions, top=limit)

    reader = RollupReader(organization)
    [(session_count, execution_count)] = reader.read(counts)
    rows = [CostRow(*row) for row in reader.read(by_model)]
    models = sorted(cost_by_model(rows).items(), key=lambda item: (-item[1], item[0]))
    return SessionSummary(
        totals=Totals.of(rows),
        sessions=session_count,
        executions=execution_count,
        top_models=models[:_TOP_COUNT],
        top_sessions=[TopSession(*row) for row in reader.read(top)],
    )


def _top_sessions(organization: Organization, reader: RollupReader) -> list[TopSession]:
    """Return the most expensive sessions, read from an index as long as no events were dropped."""
    has_dropped = DroppedMonth.objects.of(organization).exists()

    def compose(reader: RollupReader) -> sql.Composable:
        reader.parameters["top"] = _TOP_COUNT
        return _TOP.format(
            tail=reader.unfolded(SESSION_TOTALS, _TOP_COLUMNS),
            in_two_rows=_IN_TWO_ROWS if has_dropped else _NONE,
            cost=_COST,
            tokens=_TOKENS,
        )

    return [TopSession(*row) for row in reader.read(compose)]
