"""The model calls that usage is made of, one by one (document 001: endpoint, time, credential, response status).
Read-only.

What a call costs is told with its adjustments. Where a filter names something that a rollup knows, the rollup says on
which days there are such calls (`billing.reports.usage.call_day_ranges`).
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
from billing.reports.usage.call_day_ranges import Days, days_of_session, enough_days, some_days, utc_day
from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.filter import usage_condition
from billing.rollups.definitions import RUN_DAYS, SPEND_DAYS, TAG_DAYS, USAGE_DAYS, Rollup
from costtrack.calendar import Span
from costtrack.ids import ids_at
from organizations.models import Organization

_DAY = timedelta(days=1)  # more than clocks of callers can be ahead of ours
_MAX_DAYS = 14
"""That are looked through for a page where no rollup knows all of a filter."""


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls to list; empty: all. `received_by` leaves out what comes in later, so that a long list is of one
    moment."""

    usage: UsageFilter
    window: Span
    endpoint: str = ""
    received_by: datetime | None = None
    run_id: str = ""
    session_id: str = ""
    user: str = ""
    tag: str = ""

    @property
    def is_everything(self) -> bool:
        """But for the endpoint, which no rollup knows."""
        return self.usage == UsageFilter() and not (self.run_id or self.session_id or self.user or self.tag)


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
    run_id: str
    credential_name: str
    known_usd: Decimal
    """The cost, or what is known of it."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class CallPage:
    """Calls, newest first, and the place to go on from; None: there are no more. A page that is not full and has such a
    place has not looked further back."""

    calls: Sequence[Call]
    last: Position | None


# `events` are rows of the ledger, in this order.
_TOLD = sql.SQL("""
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
# One upper bound, where the index is entered: with a second one on the time alone, PostgreSQL would walk through all
# events of the instant that the last page ended in.
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
_OF_ENDPOINT = sql.SQL("endpoint = %(endpoint)s")
_RECEIVED_BY = sql.SQL("id <= %(last_id)s")
# Conditions on '' let the indexes serve, which leave these out.
_OF_RUN = sql.SQL("run_id = %(run)s AND run_id <> ''")
_OF_SESSION = sql.SQL("session_id = %(session)s AND session_id <> ''")
_OF_USER = sql.SQL("user_ref = %(user)s")
_WITH_TAG = sql.SQL("tags @> ARRAY[%(tag)s]::varchar[]")
_OF_TAG = sql.SQL("tag = %(tag)s")


def list_calls(*, organization: Organization, filters: CallFilter, after: Position | None, limit: int) -> CallPage:
    """Calls, newest first, from just after a position on."""
    window = filters.window
    if after is not None and after.occurred_at < window.end:
        window = Span(window.start, after.occurred_at + timedelta(microseconds=1))
    days = Days([window] if window.start < window.end else [])
    if days.spans and not filters.is_everything:
        days = _days_with_calls(organization, filters, window, after, limit + 1)
    found = _ask(organization, filters, days.spans, after, limit + 1) if days.spans else []
    page = found[:limit]
    if len(found) > limit:
        return CallPage(page, Position(page[-1].occurred_at, page[-1].id))
    return CallPage(page, Position(days.spans[-1].start, UUID(int=0)) if days.is_cut else None)


def _ask(
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
    return told(_NEWEST.format(condition=condition_of(filters, parameters)), _NEWEST_FIRST, parameters)


def _end_of(span: Span) -> Position:
    """All events of the span are before it, and no others: no event has a smaller id."""
    return Position(span.end, UUID(int=0))


def told(events: sql.Composable, order: sql.Composable, parameters: Parameters) -> list[Call]:
    """The calls that a SELECT finds. `order` may name the columns of its rows as those of `event`; takes the parameters
    `organization` and `first_id`."""
    with connection.cursor() as cursor:
        cursor.execute(_TOLD.format(events=events, order=order), parameters)
        return [Call(*row) for row in cursor.fetchall()]


def first_id(start: datetime) -> UUID:
    """No call of this time or later has a smaller id."""
    return ids_at(start - _DAY)[0]


def condition_of(filters: CallFilter, parameters: Parameters) -> sql.Composed:
    """Over the ledger's columns, without the window. Takes the parameter `organization`, and adds what else it
    takes."""
    conditions: list[sql.Composable] = [usage_condition(filters.usage, parameters), *_part_of(filters, parameters)]
    if filters.endpoint:
        parameters["endpoint"] = filters.endpoint
        conditions.append(_OF_ENDPOINT)
    if filters.received_by is not None:
        parameters["last_id"] = ids_at(filters.received_by)[1]
        conditions.append(_RECEIVED_BY)
    return sql.SQL(" AND ").join(conditions)


def _part_of(filters: CallFilter, parameters: Parameters) -> Iterator[sql.Composable]:
    """Conditions over the ledger; adds what they take to the parameters."""
    for name, value, condition in (
        ("run", filters.run_id, _OF_RUN),
        ("session", filters.session_id, _OF_SESSION),
        ("user", filters.user, _OF_USER),
        ("tag", filters.tag, _WITH_TAG),
    ):
        if value:
            parameters[name] = value
            yield condition


def _days_with_calls(
    organization: Organization, filters: CallFilter, window: Span, after: Position | None, enough: int
) -> Days:
    """The newest days of the window that have so many such calls together, as far as a rollup knows."""
    parameters: Parameters = {"organization": organization.pk}
    list(_part_of(filters, parameters))
    if filters.session_id and not filters.run_id:
        return days_of_session(parameters, window=window)
    rollup, condition, is_all = _narrowing(filters, parameters)
    if not is_all:
        return some_days(rollup, condition, parameters, window=window, most=_MAX_DAYS)
    listed = utc_day(after.occurred_at) if after is not None else None
    return enough_days(rollup, condition, parameters, window=window, listed=listed, enough=enough)


def _narrowing(filters: CallFilter, parameters: Parameters) -> tuple[Rollup, sql.Composable, bool]:
    """The rollup that knows most of the filters, what they say about its rows, and whether these are all of them."""
    usage, nothing = filters.usage, UsageFilter()
    if filters.run_id:
        return RUN_DAYS, _OF_RUN, usage == nothing and not (filters.session_id or filters.user or filters.tag)
    if filters.user:
        known = replace(usage, capability="", status="")
        conditions = [_OF_USER, usage_condition(known, parameters)]
        return SPEND_DAYS, sql.SQL(" AND ").join(conditions), usage == known and not filters.tag
    if filters.tag:
        return TAG_DAYS, _OF_TAG, usage == nothing
    return USAGE_DAYS, usage_condition(usage, parameters), True
