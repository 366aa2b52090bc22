"""Totals over all sessions (document 003). Read-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection
from psycopg import sql

from billing.reports.live_rollups import has_unfolded_batches, table_of, unfolded_rows
from billing.reports.sessions.rows import SUMS, CostRow, Totals, cost_by_model
from billing.reports.sessions.top import TopSession, list_top_sessions
from billing.rollups.definitions import EXECUTION_TOTALS, SESSION_MODELS, SESSION_TOTALS
from organizations.models import Organization

_TOP_COUNT = 5


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


def get_session_summary(*, organization: Organization) -> SessionSummary:
    has_unfolded = has_unfolded_batches(organization)
    sessions, executions = _counts(organization, has_unfolded=has_unfolded)
    rows = _rows(organization, has_unfolded=has_unfolded)
    models = sorted(cost_by_model(rows).items(), key=lambda item: (-item[1], item[0]))
    return SessionSummary(
        totals=Totals.of(rows),
        sessions=sessions,
        executions=executions,
        top_models=models[:_TOP_COUNT],
        top_sessions=list_top_sessions(organization, limit=_TOP_COUNT, has_unfolded=has_unfolded),
    )


def _counts(organization: Organization, *, has_unfolded: bool) -> tuple[int, int]:
    query = _COUNTS.format(
        sessions=unfolded_rows(SESSION_TOTALS, has_unfolded=has_unfolded),
        executions=unfolded_rows(EXECUTION_TOTALS, has_unfolded=has_unfolded),
    )
    with connection.cursor() as cursor:
        cursor.execute(query, {"organization": organization.pk})
        sessions, executions = cursor.fetchone()
        return sessions, executions


def _rows(organization: Organization, *, has_unfolded: bool) -> list[CostRow]:
    with connection.cursor() as cursor:
        query = _MODELS.format(table=table_of(SESSION_MODELS, has_unfolded=has_unfolded), sums=SUMS)
        cursor.execute(query, {"organization": organization.pk})
        return [CostRow(*row) for row in cursor.fetchall()]
