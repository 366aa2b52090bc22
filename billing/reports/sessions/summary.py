"""All that belongs to sessions, in a few figures (document 003). Read-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import connection
from psycopg import sql

from billing.reports.live_rollups import has_unfolded_batches, table_of, tail_of
from billing.reports.sessions.rows import SUMS, CostRow, Totals, cost_by_model
from billing.reports.sessions.top import TopSession, top_sessions
from billing.rollups.definitions import EXECUTION_TOTALS, SESSION_MODELS, SESSION_TOTALS
from organizations.models import Organization

_TOP = 5


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """Events without a session are not in it. `top_models` are names with their token cost; both lists have the dearest
    first, and equal ones by name."""

    totals: Totals
    sessions: int
    executions: int
    top_models: Sequence[tuple[str, Decimal]]
    top_sessions: Sequence[TopSession]


_MODELS = sql.SQL("""
SELECT '' AS owner, '' AS phase, service, model, '' AS tool, {sums} FROM {table} AS kept
WHERE organization_id = %(organization)s GROUP BY service, model
""")
# What is folded has been counted; what is not folded yet may bring new ones.
_NUMBERS = sql.SQL("""
WITH new_session AS ({sessions}), new_execution AS ({executions})
SELECT coalesce(sum(state.sessions), 0)::bigint + (SELECT count(*) FROM new_session WHERE NOT EXISTS (
        SELECT FROM billing_sessiontotal AS kept
        WHERE organization_id = %(organization)s AND kept.session_id = new_session.session_id)),
    coalesce(sum(state.executions), 0)::bigint + (SELECT count(*) FROM new_execution WHERE NOT EXISTS (
        SELECT FROM billing_executiontotal AS kept
        WHERE organization_id = %(organization)s AND kept.execution_id = new_execution.execution_id))
FROM billing_ledgerstate AS state WHERE organization_id = %(organization)s
""")


def summary_of_sessions(*, organization: Organization) -> SessionSummary:
    has_unfolded = has_unfolded_batches(organization)
    sessions, executions = _numbers(organization, has_unfolded=has_unfolded)
    rows = _rows(organization, has_unfolded=has_unfolded)
    models = sorted(cost_by_model(rows).items(), key=lambda item: (-item[1], item[0]))
    return SessionSummary(
        totals=Totals.of(rows),
        sessions=sessions,
        executions=executions,
        top_models=models[:_TOP],
        top_sessions=top_sessions(organization, limit=_TOP, has_unfolded=has_unfolded),
    )


def _numbers(organization: Organization, *, has_unfolded: bool) -> tuple[int, int]:
    query = _NUMBERS.format(
        sessions=tail_of(SESSION_TOTALS, has_unfolded=has_unfolded),
        executions=tail_of(EXECUTION_TOTALS, has_unfolded=has_unfolded),
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
