"""The sessions of executions. A session that named several executions belongs to the greatest name, so that no cost
counts twice.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from psycopg import sql

from billing.reports.live_rollups import unfolded_rows
from billing.rollups.definitions import SESSION_TOTALS
from organizations.models import Organization


class Member(NamedTuple):
    """A session of an execution. Ids are empty if they were not sent."""

    session_id: str
    execution_id: str
    workflow_id: str
    phase_id: str
    summaries: int
    started_at: datetime
    last_seen_at: datetime
    completed_at: datetime | None


# The condition on '' matches the partial index.
_MEMBERS = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), named AS MATERIALIZED (
    SELECT session_id FROM billing_session
    WHERE organization_id = %(organization)s AND execution_id = ANY(%(executions)s) AND execution_id <> ''
    UNION SELECT session_id FROM tail WHERE execution_id = ANY(%(executions)s) AND execution_id <> ''
)
SELECT session_id, max(execution_id), max(workflow_id), max(phase_id), sum(summaries)::bigint,
    min(first_at), max(last_at), max(completed_at)
FROM (
    SELECT session_id, execution_id, workflow_id, phase_id, summaries, first_at, last_at, completed_at
    FROM billing_session
    WHERE organization_id = %(organization)s AND session_id = ANY(ARRAY(SELECT session_id FROM named))
    UNION ALL
    SELECT session_id, execution_id, workflow_id, phase_id, summaries, first_at, last_at, completed_at
    FROM tail WHERE session_id IN (SELECT session_id FROM named)
) AS total
GROUP BY session_id HAVING max(execution_id) = ANY(%(executions)s)
ORDER BY min(first_at), session_id LIMIT %(limit)s
""")


def list_members(
    organization: Organization, execution_ids: Sequence[str], *, has_unfolded: bool, limit: int | None = None
) -> list[Member]:
    """Return the sessions of the executions, oldest first."""
    query = _MEMBERS.format(tail=unfolded_rows(SESSION_TOTALS, has_unfolded=has_unfolded))
    parameters: dict[str, Any] = {"organization": organization.pk, "executions": list(execution_ids), "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return [Member(*row) for row in cursor.fetchall()]
