"""The most expensive sessions. Exact, and read from an index as long as no events were dropped."""

from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from psycopg import sql

from billing.models import DroppedMonth
from billing.reports.live_rollups import unfolded_rows
from billing.rollups.definitions import SESSION_TOTALS
from organizations.models import Organization


class TopSession(NamedTuple):
    """A session; `tokens` are input and output, without caches."""

    session_id: str
    cost_usd: Decimal
    tokens: int


_COST = sql.SQL("token_cost_usd + compute_cost_usd")
_TOKENS = sql.SQL("input_tokens + output_tokens")

# The first rows by the index, combined with the sessions whose rows have to be summed.
_TOP = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), combined AS MATERIALIZED ({in_two_rows} UNION SELECT session_id FROM tail)
SELECT session_id, cost, tokens::bigint FROM (
    (SELECT session_id, {cost} AS cost, {tokens} AS tokens FROM billing_session
    WHERE organization_id = %(organization)s AND session_id NOT IN (SELECT session_id FROM combined)
    ORDER BY {cost} DESC, session_id LIMIT %(limit)s)
    UNION ALL
    SELECT session_id, sum(cost), sum(tokens) FROM (
        SELECT session_id, {cost} AS cost, {tokens} AS tokens FROM billing_session
        WHERE organization_id = %(organization)s AND session_id = ANY(ARRAY(SELECT session_id FROM combined))
        UNION ALL SELECT session_id, {cost}, {tokens} FROM tail
    ) AS session_row GROUP BY session_id
) AS session
ORDER BY cost DESC, session_id LIMIT %(limit)s
""")
# A session has a second row if some of its events were dropped. The primary key alone answers this.
_IN_TWO_ROWS = sql.SQL("""
SELECT session_id FROM billing_session WHERE organization_id = %(organization)s
GROUP BY session_id HAVING count(*) > 1
""")
_NONE = sql.SQL("SELECT session_id FROM billing_session WHERE false")


def list_top_sessions(organization: Organization, *, limit: int, has_unfolded: bool) -> list[TopSession]:
    """Return the most expensive sessions; ties are ordered by id."""
    has_dropped = DroppedMonth.objects.of(organization).exists()
    query = _TOP.format(
        tail=unfolded_rows(SESSION_TOTALS, has_unfolded=has_unfolded),
        in_two_rows=_IN_TWO_ROWS if has_dropped else _NONE,
        cost=_COST,
        tokens=_TOKENS,
    )
    with connection.cursor() as cursor:
        cursor.execute(query, {"organization": organization.pk, "limit": limit})
        return [TopSession(*row) for row in cursor.fetchall()]
