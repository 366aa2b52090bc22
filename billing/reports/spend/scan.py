"""Finding events in spans of time of the ledger, for the log of calls (document 004): their ids, in order."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg import sql

from billing.reports.buckets import earliest_id
from billing.reports.spend.log_types import LogFilter, Order
from billing.reports.types import Window
from costtrack.ids import earliest_after
from organizations.models import Organization

Parameters = dict[str, Any]

_BEGINNING, _END = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)

# Each span by itself along the index on time.
_IN_SPANS = sql.SQL("""
unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span (beginning, ending)
CROSS JOIN LATERAL (
    SELECT {columns} FROM billing_usageevent AS event
    WHERE event.organization_id = %(organization)s AND event.id >= %(first_id)s
        AND event.occurred_at >= span.beginning AND event.occurred_at < span.ending AND {conditions} {limited}
) AS event
""")
_NO_ADJUSTMENT = sql.SQL("event.kind <> 'adjustment'")
_IN_ORDER = sql.SQL("ORDER BY event.occurred_at {direction}, event.id {direction}")
_LIMITED = sql.SQL("{in_order} LIMIT %(enough)s")
_NEWEST = sql.SQL("SELECT event.id FROM {found} {in_order} OFFSET %(offset)s LIMIT %(limit)s")
_COUNT = sql.SQL("SELECT count(*) FROM (SELECT FROM {found} LIMIT %(enough)s) AS counted")
_NAMED = sql.SQL("""
SELECT id FROM (SELECT event.id, event.request_id, event.event_id FROM {found}) AS recent
WHERE request_id = %(text)s OR event_id = %(text)s
""")

# An adjustment bears the time of its event, so it is in the same span.
_SCANNED = sql.SQL("""
WITH adjusted AS (
    SELECT event.adjusts AS id, sum(event.cost) AS cost, sum(event.tokens) AS tokens FROM {adjustments} GROUP BY 1
), found AS MATERIALIZED (
    SELECT event.id, event.occurred_at AS started, event.ended, event.cost + coalesce(adjusted.cost, 0) AS spend,
        event.tokens + coalesce(adjusted.tokens, 0) AS tokens
    FROM {events} LEFT JOIN adjusted ON adjusted.id = event.id
    WHERE {costs}
)
SELECT (SELECT count(*) FROM found), page.id FROM (VALUES (1)) AS once
LEFT JOIN (
    SELECT id, row_number() OVER (ORDER BY {order} {direction}, started DESC, id DESC) AS place FROM found
    ORDER BY place OFFSET %(offset)s LIMIT %(limit)s
) AS page ON true
ORDER BY page.place
""")
# Ids in one array: as many parameters they would take longer to send than to find.
_BY_ID = sql.SQL("""
SELECT {columns} FROM billing_usageevent AS event
WHERE event.organization_id = %(organization)s AND event.id = ANY(%(ids)s::uuid[]) AND event.kind <> 'adjustment'
""")
_ADJUSTMENTS = sql.SQL("""
SELECT event.adjusts, {sums} FROM billing_usageevent AS event
WHERE event.organization_id = %(organization)s AND event.id >= %(first_id)s
    AND event.adjusts = ANY(%(ids)s::uuid[])
GROUP BY event.adjusts
""")
_COST_NOW = sql.SQL("event.cost + coalesce(adjusted.cost, 0)")
_SCANNED_COLUMNS = sql.SQL("""
event.id, event.adjusts, event.occurred_at, coalesce(event.token_cost_usd, 0) + event.compute_cost_usd AS cost,
event.input_tokens + event.cache_read_tokens + event.cache_creation_tokens + event.output_tokens AS tokens,
event.occurred_at + greatest(coalesce(event.duration_ms, 0), 0) * interval '1 millisecond' AS ended
""")


def newest_ids(
    organization: Organization, filters: LogFilter, spans: Sequence[Window], *, offset: int, limit: int, oldest: bool
) -> list[UUID]:
    """By the time of the events, the newest first, or the oldest. Reads no more than it must to fill the page."""
    parameters = _parameters(organization, spans, enough=offset + limit, offset=offset, limit=limit)
    in_order = _IN_ORDER.format(direction=sql.SQL("ASC" if oldest else "DESC"))
    found = _found(filters, parameters, sql.SQL("event.id, event.occurred_at"), _LIMITED.format(in_order=in_order))
    return [row[0] for row in _rows(_NEWEST.format(found=found, in_order=in_order), parameters)]


def count_up_to(most: int, organization: Organization, filters: LogFilter, spans: Sequence[Window]) -> int:
    """How many there are, but no more than `most`."""
    parameters = _parameters(organization, spans, enough=most)
    found = _found(filters, parameters, sql.SQL("event.id"), sql.SQL("LIMIT %(enough)s"))
    return int(_rows(_COUNT.format(found=found), parameters)[0][0])


def scan(
    organization: Organization,
    filters: LogFilter,
    spans: Sequence[Window],
    *,
    order: Order,
    descending: bool,
    offset: int,
    limit: int,
) -> tuple[list[UUID], int]:
    """A page in any order, and how many there are in all. Reads every event of the spans, and its adjustments."""
    parameters = _parameters(organization, spans, offset=offset, limit=limit)
    nothing = sql.SQL("")
    adjustments = _IN_SPANS.format(
        columns=_SCANNED_COLUMNS, conditions=sql.SQL("event.kind = 'adjustment'"), limited=nothing
    )
    statement = _SCANNED.format(
        adjustments=adjustments,
        events=_found(filters, parameters, _SCANNED_COLUMNS, nothing),
        costs=sql.SQL(" AND ").join([sql.SQL("true"), *_costs(filters, parameters)]),
        order=sql.Identifier(order.value),
        direction=sql.SQL("DESC" if descending else "ASC"),
    )
    rows = _rows(statement, parameters)
    return [row[1] for row in rows if row[1] is not None], int(rows[0][0])


def named_among_newest(most: int, organization: Organization, text: str, window: Window) -> list[UUID]:
    """Events with this request id or event id, among the newest `most` of the window. (No index has these ids.)"""
    parameters = _parameters(organization, [window], enough=most, text=text)
    newest = _LIMITED.format(in_order=_IN_ORDER.format(direction=sql.SQL("DESC")))
    columns = sql.SQL("event.id, event.occurred_at, event.request_id, event.event_id")
    found = _found(LogFilter(), parameters, columns, newest)
    return [row[0] for row in _rows(_NAMED.format(found=found), parameters)]


def events_by_id(organization: Organization, ids: Sequence[UUID], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The columns of those of the events that there are and that are no adjustments, in any order."""
    named = sql.SQL(", ").join(sql.Identifier("event", column) for column in columns)
    return _rows(_BY_ID.format(columns=named), {"organization": organization.pk, "ids": list(ids)})


def sums_of_adjustments(
    organization: Organization, ids: Collection[UUID], columns: Sequence[str]
) -> dict[UUID, Sequence[Any]]:
    """What the events' adjustments add up to, by the event's id; an event without any has none."""
    sums = sql.SQL(", ").join(sql.SQL("sum({})").format(sql.Identifier("event", column)) for column in columns)
    parameters = {
        "organization": organization.pk,
        "ids": list(ids),
        "first_id": earliest_after(min(ids)),  # leaves the months before alone
    }
    return {row[0]: row[1:] for row in _rows(_ADJUSTMENTS.format(sums=sums), parameters)}


def _found(
    filters: LogFilter, parameters: Parameters, columns: sql.Composable, limited: sql.Composable
) -> sql.Composed:
    conditions = sql.SQL(" AND ").join([_NO_ADJUSTMENT, *_conditions(filters, parameters)])
    return _IN_SPANS.format(columns=columns, conditions=conditions, limited=limited)


def _conditions(filters: LogFilter, parameters: Parameters) -> Iterator[sql.Composable]:
    """What an event must be, without its window and its cost; adds the values to the parameters."""
    for column, value in (
        ("user_ref", filters.user),
        ("end_user", filters.end_user),
        ("model", filters.model),
        ("status", filters.status),
        ("status_code", filters.status_code),
    ):
        if value is not None:
            parameters[column] = value
            yield sql.SQL("{} = {}").format(sql.Identifier("event", column), sql.Placeholder(column))
    if filters.credentials is not None:
        parameters["credentials"] = list(filters.credentials)
        yield sql.SQL("event.credential_id = ANY(%(credentials)s::bigint[])")
    if filters.team is not None:
        parameters |= {"team": filters.team, "team_tag": f"team:{filters.team}"}
        yield sql.SQL("(event.metadata #>> '{{litellm,team_id}}' = %(team)s OR %(team_tag)s = ANY(event.tags))")
    if filters.deployment is not None:
        parameters["deployment"] = filters.deployment
        yield sql.SQL("event.metadata #>> '{{litellm,model_id}}' = %(deployment)s")


def _costs(filters: LogFilter, parameters: Parameters) -> Iterator[sql.Composable]:
    for sign, name, amount in ((">=", "least", filters.least_cost), ("<=", "largest", filters.largest_cost)):
        if amount is not None:
            parameters[name] = amount
            yield sql.SQL("{} {} {}").format(_COST_NOW, sql.SQL(sign), sql.Placeholder(name))


def _parameters(organization: Organization, spans: Sequence[Window], **values: Any) -> Parameters:
    starts = [span.start or _BEGINNING for span in spans]
    return {
        "organization": organization.pk,
        "first_id": earliest_id(min(starts, default=_BEGINNING)),
        "starts": starts,
        "ends": [span.end or _END for span in spans],
        **values,
    }


def _rows(statement: sql.Composable, parameters: Parameters) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
