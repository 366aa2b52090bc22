"""Find event ids in time spans of the ledger, for the spend log (document 004)."""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg import sql

from billing.reports.buckets import first_possible_id
from billing.reports.spend.log_types import LogFilter, Order
from billing.reports.types import Window
from costtrack.ids import earliest_after
from organizations.models import Organization

Parameters = dict[str, Any]

_BEGINNING, _END = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)

# One range of the time index per span.
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
_NEWEST = sql.SQL("SELECT event.id FROM {matching} {in_order} OFFSET %(offset)s LIMIT %(limit)s")
_COUNT = sql.SQL("SELECT count(*) FROM (SELECT FROM {matching} LIMIT %(enough)s) AS counted")
_NAMED = sql.SQL("""
SELECT id FROM (SELECT event.id, event.request_id, event.event_id FROM {matching}) AS recent
WHERE request_id = %(text)s OR event_id = %(text)s
""")

# An adjustment has the time of its event, so it is in the same span.
_SCANNED = sql.SQL("""
WITH adjusted AS (
    SELECT event.adjusts AS id, sum(event.cost) AS cost, sum(event.tokens) AS tokens FROM {adjustments} GROUP BY 1
), matching AS MATERIALIZED (
    SELECT event.id, event.occurred_at AS started, event.ended, event.cost + coalesce(adjusted.cost, 0) AS spend,
        event.tokens + coalesce(adjusted.tokens, 0) AS tokens
    FROM {events} LEFT JOIN adjusted ON adjusted.id = event.id
    WHERE {costs}
)
SELECT (SELECT count(*) FROM matching), page.id FROM (VALUES (1)) AS once
LEFT JOIN (
    SELECT id, row_number() OVER (ORDER BY {order} {direction}, started DESC, id DESC) AS position FROM matching
    ORDER BY position OFFSET %(offset)s LIMIT %(limit)s
) AS page ON true
ORDER BY page.position
""")
# Ids as one array: as separate parameters they would take longer to send than to find.
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
    """Return ids ordered by time, newest or oldest first. Reads no more than the page needs."""
    parameters = _parameters(organization, spans, enough=offset + limit, offset=offset, limit=limit)
    in_order = _IN_ORDER.format(direction=sql.SQL("ASC" if oldest else "DESC"))
    matching = _matching_events(
        filters, parameters, sql.SQL("event.id, event.occurred_at"), _LIMITED.format(in_order=in_order)
    )
    return [row[0] for row in _rows(_NEWEST.format(matching=matching, in_order=in_order), parameters)]


def count_up_to(limit: int, organization: Organization, filters: LogFilter, spans: Sequence[Window]) -> int:
    """Count matching events, up to `limit`."""
    parameters = _parameters(organization, spans, enough=limit)
    matching = _matching_events(filters, parameters, sql.SQL("event.id"), sql.SQL("LIMIT %(enough)s"))
    return int(_rows(_COUNT.format(matching=matching), parameters)[0][0])


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
    """Return a page in any order, and the total. Reads every event of the spans and its adjustments."""
    parameters = _parameters(organization, spans, offset=offset, limit=limit)
    nothing = sql.SQL("")
    adjustments = _IN_SPANS.format(
        columns=_SCANNED_COLUMNS, conditions=sql.SQL("event.kind = 'adjustment'"), limited=nothing
    )
    statement = _SCANNED.format(
        adjustments=adjustments,
        events=_matching_events(filters, parameters, _SCANNED_COLUMNS, nothing),
        costs=sql.SQL(" AND ").join([sql.SQL("true"), *_costs(filters, parameters)]),
        order=sql.Identifier(order.value),
        direction=sql.SQL("DESC" if descending else "ASC"),
    )
    rows = _rows(statement, parameters)
    return [row[1] for row in rows if row[1] is not None], int(rows[0][0])


def search_newest(limit: int, organization: Organization, text: str, window: Window) -> list[UUID]:
    """Return ids of events with this request id or event id, among the newest `limit` of the window. No index has
    these ids."""
    parameters = _parameters(organization, [window], enough=limit, text=text)
    newest = _LIMITED.format(in_order=_IN_ORDER.format(direction=sql.SQL("DESC")))
    columns = sql.SQL("event.id, event.occurred_at, event.request_id, event.event_id")
    matching = _matching_events(LogFilter(), parameters, columns, newest)
    return [row[0] for row in _rows(_NAMED.format(matching=matching), parameters)]


def load_events(organization: Organization, ids: Sequence[UUID], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the columns of the existing events that are not adjustments, in any order."""
    named = sql.SQL(", ").join(sql.Identifier("event", column) for column in columns)
    return _rows(_BY_ID.format(columns=named), {"organization": organization.pk, "ids": list(ids)})


def sums_of_adjustments(
    organization: Organization, ids: Collection[UUID], columns: Sequence[str]
) -> dict[UUID, Sequence[Any]]:
    """Return the sums of adjustments by event id; events without adjustments are left out."""
    sums = sql.SQL(", ").join(sql.SQL("sum({})").format(sql.Identifier("event", column)) for column in columns)
    parameters = {
        "organization": organization.pk,
        "ids": list(ids),
        "first_id": earliest_after(min(ids)),  # prunes earlier partitions
    }
    return {row[0]: row[1:] for row in _rows(_ADJUSTMENTS.format(sums=sums), parameters)}


def _matching_events(
    filters: LogFilter, parameters: Parameters, columns: sql.Composable, limited: sql.Composable
) -> sql.Composed:
    conditions = sql.SQL(" AND ").join([_NO_ADJUSTMENT, *_conditions(filters, parameters)])
    return _IN_SPANS.format(columns=columns, conditions=conditions, limited=limited)


def _conditions(filters: LogFilter, parameters: Parameters) -> Iterator[sql.Composable]:
    """Build the conditions on events, except window and cost; adds their values to the parameters."""
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
    for sign, name, amount in ((">=", "min_cost", filters.min_cost), ("<=", "max_cost", filters.max_cost)):
        if amount is not None:
            parameters[name] = amount
            yield sql.SQL("{} {} {}").format(_COST_NOW, sql.SQL(sign), sql.Placeholder(name))


def _parameters(organization: Organization, spans: Sequence[Window], **values: Any) -> Parameters:
    starts = [span.start or _BEGINNING for span in spans]
    return {
        "organization": organization.pk,
        "first_id": first_possible_id(min(starts, default=_BEGINNING)),
        "starts": starts,
        "ends": [span.end or _END for span in spans],
        **values,
    }


def _rows(statement: sql.Composable, parameters: Parameters) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())
