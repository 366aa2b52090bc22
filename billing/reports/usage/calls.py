"""Model calls one by one (document 001: endpoint, time, credential, response status), with their adjustments.
Read-only.

If a rollup knows a dimension of the filter, it tells which days have matching calls
(`billing.reports.usage.call_day_ranges`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.db import connection
from psycopg import sql

from billing.reports.bucketed_query import Parameters
from billing.reports.event_list import Position
from billing.reports.usage.call_day_ranges import (
    ScanSpans,
    find_session_span,
    list_days_with_calls,
    list_newest_days,
    utc_day,
)
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.filter import usage_condition
from billing.rollups.definitions import RUN_DAYS, SPEND_DAYS, TAG_DAYS, USAGE_DAYS, Rollup
from costtrack.calendar import Span
from costtrack.ids import ids_at
from organizations.models import Organization

_DAY = timedelta(days=1)  # allows for clock skew of callers
_MAX_DAYS = 14
"""The most days that are searched for a page if no rollup knows all of a filter."""


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Filters of calls; empty means any. `received_by` excludes later arrivals, so that all pages of a long list are
    consistent."""

    usage: UsageFilter
    window: Span
    endpoint: str = ""
    received_by: datetime | None = None
    run_id: str = ""
    session_id: str = ""
    user: str = ""
    tag: str = ""

    @property
    def is_unfiltered(self) -> bool:
        """Whether there is no filter besides the endpoint, which no rollup knows."""
        return self.usage == UsageFilter() and not (self.run_id or self.session_id or self.user or self.tag)


@dataclass(frozen=True, slots=True)
class Call:
    """A model call. `cost_usd` is None while it is unknown. A voided call has its counts and cost taken back."""

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
    run_id: str
    credential_name: str
    known_usd: Decimal
    """The known part of the cost."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class CallPage:
    """A page of calls, newest first. `last` is the position to continue after, or None on the last page. A page with
    fewer calls than requested and a `last` has not searched further back."""

    calls: Sequence[Call]
    last: Position | None


# `events` are ledger rows in this order.
_CALLS = sql.SQL("""
SELECT event.id, event.event_id, event.request_id, event.occurred_at, event.endpoint, event.capability, event.service,
    event.model, event.status, event.status_code,
    event.input_tokens + event.cache_read_tokens + event.cache_creation_tokens, event.output_tokens,
    event.cache_read_tokens, coalesce(credential.client_id, ''),
    CASE WHEN event.unpriced + adjusted.unpriced <= 0
        THEN coalesce(event.token_cost_usd, 0) + event.compute_cost_usd + adjusted.cost_usd END,
    event.requests + adjusted.requests <= 0, event.run_id, coalesce(credential.name, ''),
    coalesce(event.token_cost_usd, 0) + event.compute_cost_usd + adjusted.cost_usd
FROM ({events}) AS event
LEFT JOIN organizations_apicredential AS credential
    ON credential.organization_id = %(organization)s AND credential.id = event.credential_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(coalesce(token_cost_usd, 0) + compute_cost_usd), 0) AS cost_usd,
        coalesce(sum(unpriced), 0) AS unpriced, coalesce(sum(requests), 0) AS requests
    FROM billing_usageevent AS adjustment
    WHERE adjustment.organization_id = %(organization)s AND adjustment.id >= %(first_id)s
        AND adjustment.adjusts = event.id
) AS adjusted
ORDER BY {order}
""")
# Only one upper bound, where the index is entered: with a second one on the time alone, PostgreSQL would read all
# events of the instant in which the last page ended.
_NEWEST = sql.SQL("""
SELECT event.* FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[], %(end_ids)s::uuid[])
    AS span (starts, ends, end_id)
CROSS JOIN LATERAL (
    SELECT * FROM billing_usageevent AS event
    WHERE organization_id = %(organization)s AND id >= %(first_id)s AND kind = 'model_call'
        AND occurred_at >= span.starts AND (occurred_at, id) < (span.ends, span.end_id) AND {condition}
    ORDER BY occurred_at DESC, id DESC LIMIT %(enough)s
) AS event
ORDER BY event.occurred_at DESC, event.id DESC LIMIT %(enough)s
""")
_NEWEST_FIRST = sql.SQL("event.occurred_at DESC, event.id DESC")
_BY_ENDPOINT = sql.SQL("endpoint = %(endpoint)s")
_RECEIVED_BY = sql.SQL("id <= %(last_id)s")
# Conditions on '' match the partial indexes.
_BY_RUN = sql.SQL("run_id = %(run)s AND run_id <> ''")
_BY_SESSION = sql.SQL("session_id = %(session)s AND session_id <> ''")
_BY_USER = sql.SQL("user_ref = %(user)s")
_HAS_TAG = sql.SQL("tags @> ARRAY[%(tag)s]::varchar[]")
_BY_TAG = sql.SQL("tag = %(tag)s")


def list_calls(*, organization: Organization, filters: CallFilter, after: Position | None, limit: int) -> CallPage:
    """Return calls after a position, newest first."""
    window = filters.window
    if after is not None and after.occurred_at < window.end:
        window = Span(window.start, after.occurred_at + timedelta(microseconds=1))
    days = ScanSpans([window] if window.start < window.end else [])
    if days.spans and not filters.is_unfiltered:
        days = _days_with_calls(organization, filters, window, after, limit + 1)
    calls = _fetch(organization, filters, days.spans, after, limit + 1) if days.spans else []
    page = calls[:limit]
    if len(calls) > limit:
        return CallPage(page, Position(page[-1].occurred_at, page[-1].id))
    return CallPage(page, Position(days.spans[-1].start, UUID(int=0)) if days.is_cut else None)


def _fetch(
    organization: Organization, filters: CallFilter, spans: Sequence[Span], after: Position | None, enough: int
) -> list[Call]:
    ends = [after if after is not None and after.occurred_at < span.end else _end_of(span) for span in spans]
    parameters: Parameters = {
        "organization": organization.pk,
        "starts": [span.start for span in spans],
        "ends": [end.occurred_at for end in ends],
        "end_ids": [end.id for end in ends],
        "first_id": first_id(min(span.start for span in spans)),
        "enough": enough,
    }
    return select_calls(_NEWEST.format(condition=call_condition(filters, parameters)), _NEWEST_FIRST, parameters)


def _end_of(span: Span) -> Position:
    """Return the position after all events of the span; no event has a smaller id."""
    return Position(span.end, UUID(int=0))


def select_calls(events: sql.Composable, order: sql.Composable, parameters: Parameters) -> list[Call]:
    """Return the calls of a SELECT. `order` may use its columns as columns of `event`. Needs the parameters
    `organization` and `first_id`."""
    with connection.cursor() as cursor:
        cursor.execute(_CALLS.format(events=events, order=order), parameters)
        return [Call(*row) for row in cursor.fetchall()]


def first_id(start: datetime) -> UUID:
    """Return an id that is not greater than that of any call at or after `start`."""
    return ids_at(start - _DAY)[0]


def call_condition(filters: CallFilter, parameters: Parameters) -> sql.Composed:
    """Build the condition over ledger columns, without the window. Needs the parameter `organization`; others are
    added."""
    conditions: list[sql.Composable] = [
        usage_condition(filters.usage, parameters),
        *_scope_conditions(filters, parameters),
    ]
    if filters.endpoint:
        parameters["endpoint"] = filters.endpoint
        conditions.append(_BY_ENDPOINT)
    if filters.received_by is not None:
        parameters["last_id"] = ids_at(filters.received_by)[1]
        conditions.append(_RECEIVED_BY)
    return sql.SQL(" AND ").join(conditions)


def _scope_conditions(filters: CallFilter, parameters: Parameters) -> Iterator[sql.Composable]:
    """Build conditions over ledger columns; their values are added to the parameters."""
    for name, value, condition in (
        ("run", filters.run_id, _BY_RUN),
        ("session", filters.session_id, _BY_SESSION),
        ("user", filters.user, _BY_USER),
        ("tag", filters.tag, _HAS_TAG),
    ):
        if value:
            parameters[name] = value
            yield condition


def _days_with_calls(
    organization: Organization, filters: CallFilter, window: Span, after: Position | None, enough: int
) -> ScanSpans:
    """Return the newest days of the window that together have enough matching calls, as far as a rollup knows."""
    parameters: Parameters = {"organization": organization.pk}
    list(_scope_conditions(filters, parameters))
    if filters.session_id and not filters.run_id:
        return find_session_span(parameters, window=window)
    rollup, condition, is_all = _best_rollup(filters, parameters)
    if not is_all:
        return list_newest_days(rollup, condition, parameters, window=window, max_days=_MAX_DAYS)
    last_page_day = utc_day(after.occurred_at) if after is not None else None
    return list_days_with_calls(
        rollup, condition, parameters, window=window, last_page_day=last_page_day, min_calls=enough
    )


def _best_rollup(filters: CallFilter, parameters: Parameters) -> tuple[Rollup, sql.Composable, bool]:
    """Return the rollup that knows most of the filters, its condition, and whether that covers all filters."""
    usage, nothing = filters.usage, UsageFilter()
    if filters.run_id:
        return RUN_DAYS, _BY_RUN, usage == nothing and not (filters.session_id or filters.user or filters.tag)
    if filters.user:
        known = replace(usage, capability="", status="")
        conditions = [_BY_USER, usage_condition(known, parameters)]
        return SPEND_DAYS, sql.SQL(" AND ").join(conditions), usage == known and not filters.tag
    if filters.tag:
        return TAG_DAYS, _BY_TAG, usage == nothing
    return USAGE_DAYS, usage_condition(usage, parameters), True
