"""The events of a session in the ledger (document 003). Read-only.

An adjustment has the session and the time of its event, so its cost falls into the same time bucket. Dropped events are
only in the totals of the session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from psycopg import sql

from billing.reports.event_list import Position
from organizations.models import Organization


class Call(NamedTuple):
    """One event that a caller sent. `cost_usd` includes adjustments and is None while it is unknown. Text fields are
    empty if they were not sent."""

    id: UUID
    kind: str
    status: str
    occurred_at: datetime
    phase_id: str
    service: str
    model: str
    tool: str
    input_tokens: int
    output_tokens: int
    cache_tokens: int
    tool_tokens: int
    duration_ms: Decimal | None
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class CallPage:
    """A page of calls, newest first. `last` is the position to continue after, or None on the last page."""

    calls: Sequence[Call]
    last: Position | None


class SpendBucket(NamedTuple):
    """Spend in one time bucket."""

    began_at: datetime
    token_cost_usd: Decimal
    compute_cost_usd: Decimal


# Select the events of the session by its index; a session has few compared with the ledger.
_CALLS = sql.SQL("""
WITH session_event AS MATERIALIZED (
    SELECT id, kind, status, occurred_at, phase_id, service, model, tool, input_tokens, output_tokens,
        cache_read_tokens + cache_creation_tokens AS cache_tokens,
        tool_use_tokens + tool_result_tokens AS tool_tokens,
        duration_ms, coalesce(token_cost_usd, 0) + compute_cost_usd AS cost_usd, unpriced, adjusts
    FROM billing_usageevent
    WHERE organization_id = %(organization)s AND session_id = %(session)s AND session_id <> ''
), adjusted AS (
    SELECT adjusts, sum(cost_usd) AS cost_usd, sum(unpriced) AS unpriced FROM session_event
    WHERE adjusts IS NOT NULL GROUP BY adjusts
)
SELECT event.id, kind, status, occurred_at, phase_id, service, model, tool, input_tokens, output_tokens, cache_tokens,
    tool_tokens, duration_ms,
    CASE WHEN event.unpriced + coalesce(adjusted.unpriced, 0) <= 0
        THEN event.cost_usd + coalesce(adjusted.cost_usd, 0) END
FROM (
    SELECT * FROM session_event WHERE adjusts IS NULL AND {is_after} ORDER BY occurred_at DESC, id DESC LIMIT %(enough)s
) AS event LEFT JOIN adjusted ON adjusted.adjusts = event.id
ORDER BY occurred_at DESC, event.id DESC
""")
_AFTER = sql.SQL("(occurred_at, id) < (%(after_at)s, %(after_id)s)")
_ALL = sql.SQL("true")

_BUCKETS = sql.SQL("""
SELECT date_bin(%(step)s, occurred_at, %(origin)s) AS began_at, sum(coalesce(token_cost_usd, 0)), sum(compute_cost_usd)
FROM billing_usageevent
WHERE organization_id = %(organization)s AND session_id = %(session)s AND session_id <> ''
GROUP BY began_at ORDER BY began_at
""")


def list_session_calls(*, organization: Organization, session_id: str, after: Position | None, limit: int) -> CallPage:
    """Return the calls of a session after a position, newest first; none if the session is unknown."""
    parameters: dict[str, Any] = {"session": session_id, "enough": limit + 1}
    if after is not None:
        parameters |= {"after_at": after.occurred_at, "after_id": after.id}
    calls = [
        Call(*row)
        for row in _fetch(organization, _CALLS.format(is_after=_ALL if after is None else _AFTER), parameters)
    ]
    page = calls[:limit]
    return CallPage(page, Position(page[-1].occurred_at, page[-1].id) if len(calls) > limit else None)


def list_spend_buckets(
    *, organization: Organization, session_id: str, origin: datetime, step: timedelta
) -> list[SpendBucket]:
    """Return spend since `origin` in buckets of equal length. Buckets without events are left out."""
    parameters = {"session": session_id, "origin": origin, "step": step}
    return [SpendBucket(*row) for row in _fetch(organization, _BUCKETS, parameters)]


def _fetch(organization: Organization, query: sql.Composable, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"organization": organization.pk, **parameters})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
