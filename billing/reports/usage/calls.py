"""The model calls that usage is made of, one by one (document 001: endpoint, time, credential, response status).
Read-only.

What a call costs is told with its adjustments. Where a filter names something that the rollup of days knows, the rollup
says on which days there are such calls, so that a rare one does not make a request read the ledger in search of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection
from psycopg import sql

from billing.reports.cascade import Parameters
from billing.reports.event_list import Position
from billing.reports.fresh import SOMETHING_WAITS, table_of
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.filter import usage_condition
from billing.rollups.definitions import USAGE_DAYS
from costtrack.calendar import Span
from costtrack.ids import ids_at
from organizations.models import Organization

_DAY = timedelta(days=1)  # also: more than clocks of callers can be ahead of ours


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls to list. `received_by` leaves out what comes in later, so that a long list is of one moment."""

    usage: UsageFilter
    window: Span
    endpoint: str = ""
    received_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """`cost_usd` is None while it is not known. What a voided call counted and cost was taken back."""

    id: UUID
    event_id: str
    request_id: str
    occurred_at: datetime
    endpoint: str
    capability: str
    service: str
    model: str
    status: str
    status_code: int | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    client_id: str
    cost_usd: Decimal | None
    is_voided: bool

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class CallPage:
    """Calls, newest first, and the place to go on from; None: there are no more."""

    calls: Sequence[Call]
    last: Position | None


_CALLS = sql.SQL("""
SELECT event.id, event.event_id, event.request_id, event.occurred_at, event.endpoint, event.capability, event.service,
    event.model, event.status, event.status_code,
    event.input_tokens + event.cache_read_tokens + event.cache_creation_tokens, event.output_tokens,
    event.cache_read_tokens, coalesce(credential.client_id, ''),
    CASE WHEN event.unpriced + adjusted.unpriced <= 0
        THEN coalesce(event.token_cost_usd, 0) + event.compute_cost_usd + adjusted.cost_usd END,
    event.requests + adjusted.requests <= 0
FROM (
    SELECT event.* FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span (starts, ends)
    CROSS JOIN LATERAL (
        SELECT * FROM billing_usageevent AS event
        WHERE organization_id = %(organization)s AND id >= %(first_id)s AND kind = 'model_call'
            AND occurred_at >= span.starts AND occurred_at < span.ends AND {condition}
        ORDER BY occurred_at DESC, id DESC LIMIT %(enough)s
    ) AS event
    ORDER BY event.occurred_at DESC, event.id DESC LIMIT %(enough)s
) AS event
LEFT JOIN organizations_apicredential AS credential
    ON credential.organization_id = %(organization)s AND credential.id = event.credential_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(coalesce(token_cost_usd, 0) + compute_cost_usd), 0) AS cost_usd,
        coalesce(sum(unpriced), 0) AS unpriced, coalesce(sum(requests), 0) AS requests
    FROM billing_usageevent AS adjustment -- bears the time of its event
    WHERE adjustment.organization_id = %(organization)s AND adjustment.id >= %(first_id)s
        AND adjustment.occurred_at = event.occurred_at AND adjustment.adjusts = event.id
) AS adjusted
ORDER BY event.occurred_at DESC, event.id DESC
""")
_BEFORE = sql.SQL("(occurred_at, id) < (%(after_at)s, %(after_id)s)")
_OF_ENDPOINT = sql.SQL("endpoint = %(endpoint)s")
_RECEIVED_BY = sql.SQL("id <= %(last_id)s")

_DAYS = sql.SQL("""
SELECT {waits}, days.day, days.requests FROM (VALUES (1)) AS once LEFT JOIN (
    SELECT day, sum(requests) AS requests FROM {table}
    WHERE organization_id = %(organization)s AND day >= %(first)s AND day <= %(last)s AND NOT archived AND {condition}
    GROUP BY day
) AS days ON true
ORDER BY days.day DESC
""")


def list_calls(*, organization: Organization, wanted: CallFilter, after: Position | None, limit: int) -> CallPage:
    """Calls, newest first, from just after a position on."""
    window = wanted.window
    if after is not None:
        window = Span(window.start, min(window.end, after.occurred_at + timedelta(microseconds=1)))
    spans = [window] if window.start < window.end else []
    if spans and wanted.usage != UsageFilter():
        spans = _days_with_calls(organization, wanted.usage, window, after, limit + 1)
    found = _ask(organization, wanted, spans, after, limit + 1) if spans else []
    page = found[:limit]
    return CallPage(page, Position(page[-1].occurred_at, page[-1].id) if len(found) > limit else None)


def _ask(
    organization: Organization, wanted: CallFilter, spans: Sequence[Span], after: Position | None, enough: int
) -> list[Call]:
    parameters: Parameters = {
        "organization": organization.pk,
        "starts": [span.start for span in spans],
        "ends": [span.end for span in spans],
        "first_id": ids_at(min(span.start for span in spans) - _DAY)[0],
        "enough": enough,
    }
    conditions: list[sql.Composable] = [usage_condition(wanted.usage, parameters)]
    if wanted.endpoint:
        parameters["endpoint"] = wanted.endpoint
        conditions.append(_OF_ENDPOINT)
    if wanted.received_by is not None:
        parameters["last_id"] = ids_at(wanted.received_by)[1]
        conditions.append(_RECEIVED_BY)
    if after is not None:
        parameters |= {"after_at": after.occurred_at, "after_id": after.id}
        conditions.append(_BEFORE)
    with connection.cursor() as cursor:
        cursor.execute(_CALLS.format(condition=sql.SQL(" AND ").join(conditions)), parameters)
        return [Call(*row) for row in cursor.fetchall()]


def _days_with_calls(
    organization: Organization, wanted: UsageFilter, window: Span, after: Position | None, enough: int
) -> list[Span]:
    """The newest days of the window that have so many such calls together. (Of the day that a page ended in, some have
    been listed already.)"""
    listed = _utc_day(after.occurred_at) if after is not None else None
    spans: list[Span] = []
    calls = 0
    for day, requests in _calls_by_day(organization, wanted, window):
        start = datetime.combine(day, time(), UTC)
        spans.append(Span(max(start, window.start), min(start + _DAY, window.end)))
        calls += requests if day != listed and start >= window.start and start + _DAY <= window.end else 0
        if calls >= enough:
            break
    return spans


def _calls_by_day(organization: Organization, wanted: UsageFilter, window: Span) -> list[tuple[date, int]]:
    """Newest first. Voided calls are in the list and not counted."""
    parameters: Parameters = {
        "organization": organization.pk,
        "first": _utc_day(window.start),
        "last": _utc_day(window.end - timedelta(microseconds=1)),
    }
    condition = usage_condition(wanted, parameters)
    with connection.cursor() as cursor:
        for waits in (False, True):
            table = table_of(USAGE_DAYS, waits=waits)
            cursor.execute(_DAYS.format(waits=SOMETHING_WAITS, table=table, condition=condition), parameters)
            rows = cursor.fetchall()
            if not rows[0][0]:
                break
    return [(day, int(requests)) for _, day, requests in rows if day is not None]


def _utc_day(instant: datetime) -> date:
    return instant.astimezone(UTC).date()
