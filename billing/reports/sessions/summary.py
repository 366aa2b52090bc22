"""Totals over all sessions (document 003). Read-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from psycopg import sql

from billing.models import DroppedMonth
from billing.reports.rollup_reader import RollupReader
from billing.reports.sessions.rows import SUMS, CostRow, Totals, cost_by_model
from billing.rollups.definitions import EXECUTION_TOTALS, SESSION_MODELS, SESSION_TOTALS
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
WITH new_session AS ({sessions}), new_execution AS ({executions})
SELECT coalesce(sum(state.sessions), 0)::bigint + (SELECT count(*) FROM new_session WHERE NOT EXISTS (
        SELECT FROM billing_session AS total
        WHERE organization_id = %(organization)s AND total.session_id = new_session.session_id)),
    coalesce(sum(state.executions), 0)::bigint + (SELECT count(*) FROM new_execution WHERE NOT EXISTS (
        SELECT FROM billing_execution AS total
        WHERE organization_id = %(organization)s AND total.execution_id = new_execution.execution_id))
FROM billing_ledgerstate AS state WHERE organization_id = %(organization)s
""")
_COST = sql.SQL("token_cost_usd + compute_cost_usd")
_TOKENS = sql.SQL("input_tokens + output_tokens")

# The first rows by the index, combined with the sessions whose rows have to be summed.
_TOP = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), combined AS MATERIALIZED ({in_two_rows} UNION SELECT session_id FROM tail)
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
# A session has a second row if some of its events were dropped. The primary key is enough to find it.
_IN_TWO_ROWS = sql.SQL("""
SELECT session_id FROM billing_session WHERE organization_id = %(organization)s
GROUP BY session_id HAVING count(*) > 1
""")
_NONE = sql.SQL("SELECT session_id FROM billing_session WHERE false")


def get_session_summary(*, organization: Organization) -> SessionSummary:
    reader = RollupReader(organization)
    [(sessions, executions)] = reader.read(
        lambda reader: _COUNTS.format(
            sessions=reader.unfolded(SESSION_TOTALS), executions=reader.unfolded(EXECUTION_TOTALS)
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


def _top_sessions(organization: Organization, reader: RollupReader) -> list[TopSession]:
    """Return the most expensive sessions, read from an index as long as no events were dropped."""
    has_dropped = DroppedMonth.objects.of(organization).exists()

    def compose(reader: RollupReader) -> sql.Composable:
        reader.parameters["top"] = _TOP_COUNT
        return _TOP.format(
            tail=reader.unfolded(SESSION_TOTALS),
            in_two_rows=_IN_TWO_ROWS if has_dropped else _NONE,
            cost=_COST,
            tokens=_TOKENS,
        )

    return [TopSession(*row) for row in reader.read(compose)]
