"""Events of the ledger, each with its net cost: the event and its adjustments together. Read-only.

    class Call(NamedTuple):
        id: UUID
        occurred_at: datetime
        model: str
        net_input_tokens: int
        cost_usd: Decimal | None

    query = EventQuery(organization, windows=(Window(start, end),), condition=equal_to({"model": "gpt-5"}))
    page = query.page(Call, after=None, limit=50)

The fields of a row type are what is selected: columns of the ledger, net counts and amounts (`net_` and the column),
and what `_EXPRESSIONS` has, such as `cost_usd`. Adjustments themselves are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from psycopg import sql

from billing.ledger.net_cost import IS_PRICED, IS_VOIDED, KNOWN_COST, NET_COST, net, sum_adjustments
from billing.models.ledger import COST_SQL
from billing.reports.cursors import Page, Position, page_of
from billing.reports.sql import Condition, Parameters, bind, no_condition, within
from billing.rollups.sql import column_list
from costtrack.calendar import ALWAYS, Window
from costtrack.clock import EPOCH
from costtrack.database.queries import fetch_rows
from costtrack.ids import earliest_after, first_id_of
from organizations.models import Organization

_BEGINNING, _END = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_FIRST_ID = UUID(int=0)  # no event has a smaller id


Row = TypeVar("Row", bound=NamedTuple)
"""Any row type has the fields `id` and `occurred_at`."""

_PROMPT_TOKENS = ("input_tokens", "cache_read_tokens", "cache_creation_tokens")
_EXPRESSIONS = {
    "cost_usd": NET_COST,
    "known_cost_usd": KNOWN_COST,
    "is_priced": IS_PRICED,
    "is_voided": IS_VOIDED,
    "prompt_tokens": sql.SQL(" + ").join(sql.Identifier("event", column) for column in _PROMPT_TOKENS),
    "completion_tokens": sql.SQL("event.output_tokens"),
    "cached_tokens": sql.SQL("event.cache_read_tokens"),
    # Rare counts are NULL instead of 0.
    "tool_use_tokens": sql.SQL("coalesce(event.tool_use_tokens, 0)"),
    "tool_result_tokens": sql.SQL("coalesce(event.tool_result_tokens, 0)"),
    "net_prompt_tokens": sql.SQL(" + ").join(map(net, _PROMPT_TOKENS)),
    "metadata_json": sql.SQL("event.metadata"),
    "group_label": sql.SQL("coalesce(nullif(event.group_name, ''), event.group_id)"),
    "agent_label": sql.SQL("coalesce(nullif(event.agent_name, ''), event.agent_id)"),
    "model_as_sent": sql.SQL("coalesce(nullif(event.sent_model, ''), event.model)"),
    "cost_group_or_model": sql.SQL("coalesce(nullif(event.cost_group, ''), event.model)"),
    # As in `billing.reports.usage.figures`: that of the run.
    "workflow": sql.SQL("""CASE WHEN event.run_id = '' THEN event.workflow_id ELSE (
        SELECT run.workflow_id FROM billing_run AS run
        WHERE run.organization_id = %(organization)s AND run.run_id = event.run_id
    ) END"""),
    "is_archived": sql.SQL("false"),
    "client_id": sql.SQL("coalesce(credential.client_id, '')"),
    "credential_name": sql.SQL("coalesce(credential.name, '')"),
}


class Sort(StrEnum):
    """What events are sorted by, if not by time; the expressions over `event` and its adjustments are in `_SORTS`."""

    ENDED = "ended"
    COST = "cost"
    TOKENS = "tokens"


_TOKENS = "event.input_tokens + event.cache_read_tokens + event.cache_creation_tokens + event.output_tokens"
_SORTS = {
    Sort.ENDED: sql.SQL("event.ended"),
    Sort.COST: sql.SQL("event.cost + coalesce(change.cost, 0)"),
    Sort.TOKENS: sql.SQL("event.tokens + coalesce(change.tokens, 0)"),
}

_ROWS = sql.SQL("""
WITH page AS MATERIALIZED ({events})
SELECT {columns} FROM page AS event CROSS JOIN LATERAL ({adjustments}) AS adjusted
LEFT JOIN organizations_apicredential AS credential
    ON credential.organization_id = %(organization)s AND credential.id = event.credential_id
ORDER BY {order}
""")
_BY_TIME = sql.SQL("event.occurred_at {direction}, event.id {direction}")
# One range of the time index for each window. Only one upper bound, where the index is entered: with a second one on
# the time alone, PostgreSQL would read all events of the instant in which the last page ended.
_IN_WINDOWS = sql.SQL("""
unnest({starts}::timestamptz[], {ends}::timestamptz[], {end_ids}::uuid[]) AS span (starts, ends, end_id)
CROSS JOIN LATERAL (
    SELECT {columns} FROM billing_usageevent AS event
    WHERE organization_id = %(organization)s AND id >= %(first_id)s AND occurred_at >= span.starts
        AND (occurred_at, id) < (span.ends, span.end_id) AND kind {kind} 'adjustment' AND {condition} {limited}
) AS event
""")
_BY_INDEX = sql.SQL("""
SELECT * FROM (
    SELECT * FROM billing_usageevent
    WHERE organization_id = %(organization)s AND id >= %(first_id)s AND kind <> 'adjustment' AND {condition}
    OFFSET 0 -- selects them by the index of the condition, and not by time
) AS event
WHERE {after} ORDER BY {order} LIMIT {limit}
""")
_BY_ID = sql.SQL("""
SELECT * FROM billing_usageevent AS event
WHERE organization_id = %(organization)s AND id = ANY ({ids}::uuid[]) AND kind <> 'adjustment' AND {within}
    AND {condition}
""")
# No index has the key, which adjustments change anyway, so all events are read. An adjustment has the time of its event
# and so is in the same window.
_SORTED = sql.SQL("""
WITH change AS MATERIALIZED (
    SELECT event.adjusts AS id, sum(event.cost) AS cost, sum(event.tokens) AS tokens FROM {adjustments} GROUP BY 1
), matching AS MATERIALIZED (
    SELECT event.id, event.occurred_at, {key} AS key FROM {events} LEFT JOIN change ON change.id = event.id
    WHERE {condition}
)
SELECT event.*, page.position, (SELECT count(*) FROM matching) AS total FROM (
    SELECT id, row_number() OVER (ORDER BY key {direction}, occurred_at DESC, id DESC) AS position FROM matching
    WHERE {after} ORDER BY position OFFSET {offset} LIMIT {limit}
) AS page JOIN billing_usageevent AS event ON event.organization_id = %(organization)s AND event.id = page.id
""")
_SORTED_COLUMNS = sql.SQL(
    "event.id, event.adjusts, event.occurred_at, {cost} AS cost, {tokens} AS tokens,"
    " event.occurred_at + greatest(coalesce(event.duration_ms, 0), 0) * interval '1 millisecond' AS ended"
).format(cost=sql.SQL(COST_SQL), tokens=sql.SQL(_TOKENS))
_NOTHING = sql.SQL("")
_EVERY_COLUMN = sql.SQL("*")
_ALL = sql.SQL("true")


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Events of an organization. `windows` are disjoint; `condition` is over columns of the ledger."""

    organization: Organization
    windows: Sequence[Window] = (ALWAYS,)
    condition: Condition = no_condition

    def page(self, row_type: type[Row], *, after: Position | None, limit: int) -> Page[Row, Position]:
        """Return a page after a position, newest first."""
        return page_of(self.rows(row_type, after=after, limit=limit + 1), limit, _position)

    def rows(
        self,
        row_type: type[Row],
        *,
        after: Position | None = None,
        offset: int = 0,
        limit: int,
        oldest_first: bool = False,
    ) -> list[Row]:
        """Return events ordered by time, newest first or oldest first. Reads no more than the page needs."""
        parameters = self._parameters()
        order = _BY_TIME.format(direction=sql.SQL("ASC" if oldest_first else "DESC"))
        events = sql.SQL("SELECT event.* FROM {} ORDER BY {} OFFSET {} LIMIT {}").format(
            self._in_windows(parameters, after=after, limited=self._limited(parameters, order, offset + limit)),
            order,
            bind(parameters, offset),
            bind(parameters, limit),
        )
        return self._rows(row_type, events, order, parameters)

    def page_by_index(
        self, row_type: type[Row], *, after: Position | None, limit: int, received_since: datetime | None = None
    ) -> Page[Row, Position]:
        """Return a page, newest first, of a condition that has an index and few events, such as one session. All of
        them are read. None was received before `received_since`."""
        parameters = self._parameters(first_id_of(received_since))
        order = _BY_TIME.format(direction=sql.SQL("DESC"))
        events = _BY_INDEX.format(
            condition=self.condition(parameters),
            after=is_after(("occurred_at", "id"), after, parameters),
            order=order,
            limit=bind(parameters, limit + 1),
        )
        rows = self._rows(row_type, events, order, parameters)
        return page_of(rows, limit, _position)

    def by_ids(self, row_type: type[Row], ids: Sequence[UUID]) -> dict[UUID, Row]:
        """Return the events with these ids, as far as they match."""
        if not ids:
            return {}
        parameters = self._parameters(earliest_after(min(ids)))
        column = sql.SQL("occurred_at")
        in_windows = [within(column, (window.start, window.end), parameters) for window in self.windows]
        events = _BY_ID.format(
            ids=bind(parameters, list(ids)),
            within=sql.SQL("({})").format(sql.SQL(" OR ").join(in_windows)),
            condition=self.condition(parameters),
        )
        return {_position(row).id: row for row in self._rows(row_type, events, sql.SQL("event.id"), parameters)}

    def sorted_rows(
        self,
        row_type: type[Row],
        *,
        sort: Sort | None,
        descending: bool = True,
        costs: tuple[Decimal | None, Decimal | None] = (None, None),
        after: Position | None = None,
        offset: int = 0,
        limit: int,
    ) -> tuple[list[Row], int]:
        """Return events in any order (None: by time) and the total number. Ties are newest first. Reads every event of
        the windows and its adjustments. `costs` are the lowest and the highest net cost, both inclusive."""
        parameters = self._parameters()
        key = _SORTS[sort] if sort is not None else sql.SQL("event.occurred_at")
        events = _SORTED.format(
            adjustments=self._in_windows(parameters, columns=_SORTED_COLUMNS, adjustments=True),
            events=self._in_windows(parameters, columns=_SORTED_COLUMNS),
            key=key,
            condition=_in_costs(costs, parameters),
            direction=sql.SQL("DESC" if descending else "ASC"),
            after=is_after(("key", "occurred_at", "id"), after, parameters),
            offset=bind(parameters, offset),
            limit=bind(parameters, limit),
        )
        columns = [*columns_of(row_type), sql.SQL("event.total")]
        rows = self._fetch(columns, events, sql.SQL("event.position"), parameters)
        if not rows and offset:
            # A page after the last has no row that has the total.
            _, total = self.sorted_rows(row_type, sort=sort, descending=descending, costs=costs, limit=1)
            return [], total
        return [row_type._make(row[:-1]) for row in rows], rows[0][-1] if rows else 0

    def count(self, limit: int) -> int:
        """Count the events, up to `limit`."""
        parameters = self._parameters()
        placeholder = bind(parameters, limit)
        events = self._in_windows(
            parameters, columns=sql.SQL("event.id"), limited=sql.SQL("LIMIT {}").format(placeholder)
        )
        statement = sql.SQL("SELECT count(*) FROM (SELECT FROM {} LIMIT {}) AS counted").format(events, placeholder)
        return int(fetch_rows(statement, parameters)[0][0])

    def newest_with_id(self, text: str, *, searched: int) -> list[UUID]:
        """Return the ids of events with this request id or event id among the newest `searched`. No index has these
        ids."""
        parameters = self._parameters()
        order = _BY_TIME.format(direction=sql.SQL("DESC"))
        newest = self._in_windows(
            parameters,
            columns=sql.SQL("event.id, event.occurred_at, event.request_id, event.event_id"),
            limited=self._limited(parameters, order, searched),
        )
        statement = sql.SQL("SELECT event.id FROM {0} WHERE {1} IN (event.request_id, event.event_id)")
        return [row[0] for row in fetch_rows(statement.format(newest, bind(parameters, text)), parameters)]

    def _parameters(self, first_id: UUID | None = None) -> Parameters:
        """Return the first parameters. No event has a smaller id than `first_id` (default: of the windows)."""
        if first_id is None:
            first_id = first_id_of(min((window.start or EPOCH for window in self.windows), default=None))
        return {"organization": self.organization.pk, "first_id": first_id}

    def _in_windows(
        self,
        parameters: Parameters,
        *,
        columns: sql.Composable = _EVERY_COLUMN,
        after: Position | None = None,
        limited: sql.Composable = _NOTHING,
        adjustments: bool = False,
    ) -> sql.Composed:
        ends = [(window.end or _END, _FIRST_ID) for window in self.windows]
        if after is not None:
            ends = [min(end, (after.at, after.id)) for end in ends]
        return _IN_WINDOWS.format(
            columns=columns,
            starts=bind(parameters, [window.start or _BEGINNING for window in self.windows]),
            ends=bind(parameters, [instant for instant, _ in ends]),
            end_ids=bind(parameters, [event_id for _, event_id in ends]),
            kind=sql.SQL("=" if adjustments else "<>"),
            condition=_ALL if adjustments else self.condition(parameters),
            limited=limited,
        )

    def _limited(self, parameters: Parameters, order: sql.Composable, limit: int) -> sql.Composed:
        return sql.SQL("ORDER BY {} LIMIT {}").format(order, bind(parameters, limit))

    def _rows(
        self, row_type: type[Row], events: sql.Composable, order: sql.Composable, parameters: Parameters
    ) -> list[Row]:
        return [row_type._make(row) for row in self._fetch(columns_of(row_type), events, order, parameters)]

    def _fetch(
        self, columns: Sequence[sql.Composable], events: sql.Composable, order: sql.Composable, parameters: Parameters
    ) -> list[tuple[Any, ...]]:
        adjustments = sum_adjustments(sql.Identifier("page"))
        statement = _ROWS.format(
            events=events, adjustments=adjustments, columns=sql.SQL(", ").join(columns), order=order
        )
        return fetch_rows(statement, parameters)


def _position(row: Any) -> Position:
    return Position(row.occurred_at, row.id)


def columns_of(row_type: type[NamedTuple]) -> list[sql.Composable]:
    """Return the expressions that a row type selects, over `event`, `adjusted` and `credential`."""
    return [_expression(name) for name in row_type._fields]


def _expression(name: str) -> sql.Composable:
    """Return the expression that a field of a row type selects."""
    if name in _EXPRESSIONS:
        return _EXPRESSIONS[name]
    return net(name.removeprefix("net_")) if name.startswith("net_") else sql.Identifier("event", name)


def is_after(columns: Sequence[str], after: Position | None, parameters: Parameters) -> sql.Composable:
    """Build the condition that a row comes after a position, in descending order of the columns."""
    if after is None:
        return _ALL
    values = (after.at, after.id) if after.usd is None else (after.usd, after.at, after.id)
    return sql.SQL("({}) < ({})").format(
        column_list(columns), sql.SQL(", ").join(bind(parameters, value) for value in values)
    )


def _in_costs(costs: tuple[Decimal | None, Decimal | None], parameters: Parameters) -> sql.Composable:
    conditions: list[sql.Composable] = [_ALL]
    for sign, amount in zip((">=", "<="), costs, strict=True):
        if amount is not None:
            template = sql.SQL("{} {} {}")
            conditions.append(template.format(_SORTS[Sort.COST], sql.SQL(sign), bind(parameters, amount)))
    return sql.SQL(" AND ").join(conditions)
