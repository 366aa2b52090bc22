"""What a session did, one by one and in the course of time: its events in the ledger (document 003). Read-only.

An adjustment bears the session and the time of its event, so its cost stands beside that of the event and in the same
part of the time. Events that were dropped are in the session's totals alone.
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
    """One event that a caller has sent. `cost_usd` has the adjustments in it, and is None while it is not known. Empty:
    not told."""

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
    """Calls, the newest first, and the place to go on from; None: there are no more."""

    calls: Sequence[Call]
    last: Position | None


class Part(NamedTuple):
    """What was spent in a part of the time that began then."""

    began_at: datetime
    token_cost_usd: Decimal
    compute_cost_usd: Decimal


# The session's events come by their index; a session has few beside the ledger.
_CALLS = sql.SQL("""
WITH mine AS MATERIALIZED (
    SELECT id, kind, status, occurred_at, phase_id, service, model, tool, input_tokens, output_tokens,
        cache_read_tokens + cache_creation_tokens AS cache_tokens,
        tool_use_tokens + tool_result_tokens AS tool_tokens,
        duration_ms, coalesce(token_cost_usd, 0) + compute_cost_usd AS cost_usd, unpriced, adjusts
    FROM billing_usageevent
    WHERE organization_id = %(organization)s AND session_id = %(session)s AND session_id <> ''
), adjusted AS (
    SELECT adjusts, sum(cost_usd) AS cost_usd, sum(unpriced) AS unpriced FROM mine
    WHERE adjusts IS NOT NULL GROUP BY adjusts
)
SELECT event.id, kind, status, occurred_at, phase_id, service, model, tool, input_tokens, output_tokens, cache_tokens,
    tool_tokens, duration_ms,
    CASE WHEN event.unpriced + coalesce(adjusted.unpriced, 0) <= 0
        THEN event.cost_usd + coalesce(adjusted.cost_usd, 0) END
FROM (
    SELECT * FROM mine WHERE adjusts IS NULL AND {is_after} ORDER BY occurred_at DESC, id DESC LIMIT %(enough)s
) AS event LEFT JOIN adjusted ON adjusted.adjusts = event.id
ORDER BY occurred_at DESC, event.id DESC
""")
_AFTER = sql.SQL("(occurred_at, id) < (%(after_at)s, %(after_id)s)")
_ALL = sql.SQL("true")

_PARTS = sql.SQL("""
SELECT date_bin(%(step)s, occurred_at, %(origin)s) AS began_at, sum(coalesce(token_cost_usd, 0)), sum(compute_cost_usd)
FROM billing_usageevent
WHERE organization_id = %(organization)s AND session_id = %(session)s AND session_id <> ''
GROUP BY began_at ORDER BY began_at
""")


def calls_of_session(*, organization: Organization, session_id: str, after: Position | None, limit: int) -> CallPage:
    """The newest first, from just after a position on; none if there is no such session."""
    parameters: dict[str, Any] = {"session": session_id, "enough": limit + 1}
    if after is not None:
        parameters |= {"after_at": after.occurred_at, "after_id": after.id}
    found = [
        Call(*row) for row in _ask(organization, _CALLS.format(is_after=_ALL if after is None else _AFTER), parameters)
    ]
    page = found[:limit]
    return CallPage(page, Position(page[-1].occurred_at, page[-1].id) if len(found) > limit else None)


def spent_over_time(*, organization: Organization, session_id: str, origin: datetime, step: timedelta) -> list[Part]:
    """The time since `origin` in parts of equal length; without those in which nothing happened."""
    parameters = {"session": session_id, "origin": origin, "step": step}
    return [Part(*row) for row in _ask(organization, _PARTS, parameters)]


def _ask(organization: Organization, query: sql.Composable, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, {"organization": organization.pk, **parameters})
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found
