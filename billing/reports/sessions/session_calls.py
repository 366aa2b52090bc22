"""The events of a session in the ledger (document 003). Read-only.

An adjustment has the session and the time of its event, so its cost falls into the same time bucket. Dropped events are
only in the totals of the session.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from psycopg import sql

from billing.reports.cursors import Page, Position
from billing.reports.event_query import EventQuery
from billing.reports.sql import Parameters, bind
from costtrack.database.queries import fetch_rows
from organizations.models import Organization


class Call(NamedTuple):
    """One event that a caller sent. `cost_usd` is its net cost, None while it is unknown. Text fields are empty if they
    were not sent."""

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
    cache_read_tokens: int
    cache_creation_tokens: int
    tool_use_tokens: int
    tool_result_tokens: int
    duration_ms: Decimal | None
    cost_usd: Decimal | None

    @property
    def cache_tokens(self) -> int:
        return self.cache_read_tokens + self.cache_creation_tokens

    @property
    def tool_tokens(self) -> int:
        return self.tool_use_tokens + self.tool_result_tokens


class SpendBucket(NamedTuple):
    """Spend in one time bucket."""

    began_at: datetime
    token_cost_usd: Decimal
    compute_cost_usd: Decimal


# The condition on '' matches the partial index.
_OF_SESSION = sql.SQL("session_id = {} AND session_id <> ''")
_BUCKETS = sql.SQL("""
SELECT date_bin({step}, occurred_at, {origin}) AS began_at, sum(coalesce(token_cost_usd, 0)), sum(compute_cost_usd)
FROM billing_usageevent WHERE organization_id = %(organization)s AND {condition}
GROUP BY began_at ORDER BY began_at
""")


def list_session_calls(
    *, organization: Organization, session_id: str, after: Position | None, limit: int
) -> Page[Call, Position]:
    """Return the calls of a session after a position, newest first; none if the session is unknown."""
    query = EventQuery(organization, condition=lambda parameters: _OF_SESSION.format(bind(parameters, session_id)))
    return query.page_by_index(Call, after=after, limit=limit)


def list_spend_buckets(
    *, organization: Organization, session_id: str, origin: datetime, step: timedelta
) -> list[SpendBucket]:
    """Return spend since `origin` in buckets of equal length. Buckets without events are left out."""
    parameters: Parameters = {"organization": organization.pk}
    statement = _BUCKETS.format(
        step=bind(parameters, step),
        origin=bind(parameters, origin),
        condition=_OF_SESSION.format(bind(parameters, session_id)),
    )
    return [SpendBucket(*row) for row in fetch_rows(statement, parameters)]
