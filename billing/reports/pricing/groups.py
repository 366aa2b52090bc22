"""Generation groups and their cost, page by page (document 000). Read-only.

A page is read in two steps: first its group ids, then the rows of those groups. Without a window or filter the ids come
from the indexes of `GenerationGroup`, so that cost does not grow with the number of groups; the few groups with
unfolded events are summed separately and merged. Otherwise all groups with runs in the window are summed and sorted.
Filters select runs: a group shows the sums of its matching runs, and groups without any are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from psycopg import sql

from billing.models import DroppedMonth
from billing.reports.pricing.run_filter import ModelKey, RunFilter
from billing.reports.rollup_query import COST_COLUMNS, RollupQuery
from billing.reports.rollup_reader import RollupReader
from billing.reports.sql import Parameters, bind
from billing.rollups.definitions import GROUP_DAYS, GROUP_TOTALS
from billing.rollups.sql import column_list, measure_columns
from costtrack.money import ZERO
from organizations.models import Organization


class GroupOrder(Enum):
    """Sort keys: an expression over a row of `GenerationGroup` that has an index, and the aggregate that merges the
    rows of a group."""

    DATE = ("last_at", "max")
    COST = ("token_cost_usd + compute_cost_usd", "sum")
    TOKENS = ("input_tokens + cache_read_tokens + cache_creation_tokens + output_tokens", "sum")
    RUNS = ("requests", "sum")

    @property
    def row_expression(self) -> sql.Composable:
        return sql.SQL("({})").format(sql.SQL(self.value[0]))

    @property
    def merged(self) -> sql.Composable:
        return sql.SQL("{}{}").format(sql.SQL(self.value[1]), self.row_expression)


ORDERS = {
    "date": GroupOrder.DATE,
    "total_cost": GroupOrder.COST,
    "total_tokens": GroupOrder.TOKENS,
    "run_count": GroupOrder.RUNS,
}
"""The values of `sort_by`."""


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """A page request. `search` is a case-insensitive substring of the group name or, with `matches_id`, the group id.
    Empty means all."""

    runs: RunFilter = field(default_factory=RunFilter)
    search: str = ""
    matches_id: bool = False
    order: GroupOrder = GroupOrder.DATE
    ascending: bool = False
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Group:
    """A group. `input_tokens` includes cached tokens. Agents without a name use their id."""

    group_id: str
    name: str
    session_id: str
    first_at: datetime
    last_at: datetime
    runs: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    models: tuple[ModelKey, ...]
    agents: tuple[tuple[str, str], ...]
    users: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupPage:
    groups: tuple[Group, ...]
    total: int


class _GroupRow(NamedTuple):
    """Sums of one group by model, agent and user."""

    group_id: str
    service: str
    model: str
    agent_id: str
    user_ref: str
    group_name: str
    session_id: str
    agent_name: str
    first_at: datetime
    last_at: datetime
    runs: int
    input_tokens: int
    output_tokens: int
    cost: Decimal


_COLUMNS = (
    *("group_id", "service", "model", "agent_id", "user_ref", "group_name", "session_id", "agent_name"),
    *("first_at", "last_at", *COST_COLUMNS),
)
# `unfolded` has the groups with unfolded events, including their folded rows. A group has two rows if some of its
# events were dropped; the later one counts.
_PAGE_BY_INDEX = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), unfolded AS MATERIALIZED (
    SELECT group_id, {merged} AS sort_key, bool_or(is_known) AS is_known FROM (
        SELECT {columns}, false AS is_known FROM tail
        UNION ALL
        SELECT {columns}, true FROM billing_generationgroup
        WHERE organization_id = %(organization)s
            AND group_id IN (SELECT group_id FROM tail WHERE folded_first_at IS NOT NULL)
    ) AS run GROUP BY group_id
)
SELECT coalesce((SELECT groups FROM billing_ledgerstate WHERE organization_id = %(organization)s), 0)
        + (SELECT count(*) FROM unfolded WHERE NOT is_known),
    ARRAY(
        SELECT group_id FROM (
            SELECT group_id, sort_key FROM unfolded
            UNION ALL
            (SELECT group_id, {sort_key} FROM billing_generationgroup AS total
            WHERE organization_id = %(organization)s AND group_id NOT IN (SELECT group_id FROM unfolded)
                AND (NOT EXISTS (SELECT FROM billing_droppedmonth WHERE organization_id = %(organization)s)
                    OR archived = (
                        SELECT archived FROM billing_generationgroup AS other
                        WHERE organization_id = %(organization)s AND other.group_id = total.group_id
                        ORDER BY last_at DESC, archived LIMIT 1))
            ORDER BY {sort_key} {direction}, group_id {tie} LIMIT %(limit)s + %(offset)s)
        ) AS page ORDER BY sort_key {direction}, group_id {tie} LIMIT %(limit)s OFFSET %(offset)s
    )
""")
_TOTALS = column_list(("group_id", *measure_columns(GROUP_TOTALS)))
_PAGE_BY_SUM = sql.SQL("""
WITH matching AS MATERIALIZED (
    SELECT group_id, {merged} AS sort_key FROM ({rows}) AS run GROUP BY group_id HAVING {matches_search}
)
SELECT (SELECT count(*) FROM matching),
    ARRAY(SELECT group_id FROM matching ORDER BY sort_key {direction}, group_id {tie} LIMIT %(limit)s OFFSET %(offset)s)
""")
_NAME_CONTAINS = sql.SQL("strpos(lower(max(group_name)), lower({search})) > 0")
_NAME_CONTAINS_OR_IS_ID = sql.SQL("(strpos(lower(max(group_name)), lower({search})) > 0 OR group_id = {search})")
_GROUP_ROWS = sql.SQL("""
SELECT group_id, service, model, agent_id, user_ref, max(group_name), max(session_id), max(agent_name), min(first_at),
    max(last_at), sum(requests), sum(input_tokens + cache_read_tokens + cache_creation_tokens), sum(output_tokens),
    sum(token_cost_usd + compute_cost_usd)
FROM ({rows}) AS run GROUP BY group_id, service, model, agent_id, user_ref
""")


def groups(*, organization: Organization, query: GroupQuery, reader: RollupReader | None = None) -> GroupPage:
    """Return a page of groups and the total number."""
    reader = reader or RollupReader(organization)
    group_ids, total = _page(organization, query, reader)
    by_id = _load_groups(query.runs, group_ids, reader) if group_ids else {}
    return GroupPage(tuple(by_id[group_id] for group_id in group_ids if group_id in by_id), total)


def _page(organization: Organization, query: GroupQuery, reader: RollupReader) -> tuple[list[str], int]:
    """Return the sorted group ids of a page, and the total number of groups. Ties are ordered by id."""
    order = {
        "sort_key": query.order.row_expression,
        "merged": query.order.merged,
        "direction": sql.SQL("ASC" if query.ascending else "DESC"),
        "tie": sql.SQL("DESC" if query.ascending else "ASC"),  # so that one index serves both directions
    }
    uses_index = query.runs.is_unfiltered and not query.search and _is_indexed(organization, query.order)

    def compose(reader: RollupReader) -> sql.Composable:
        reader.parameters.update(limit=query.limit, offset=query.offset)
        if uses_index:
            return _PAGE_BY_INDEX.format(tail=reader.unfolded(GROUP_TOTALS), columns=_TOTALS, **order)
        levels = (GROUP_TOTALS,) if query.runs.is_unfiltered else (GROUP_DAYS,)
        rows = RollupQuery(levels, (query.runs.window,), condition=query.runs.condition)
        columns = _COLUMNS if levels == (GROUP_DAYS,) else ("group_id", *measure_columns(GROUP_TOTALS))
        return _PAGE_BY_SUM.format(
            rows=rows.rows(reader, columns), matches_search=_search_condition(query, reader), **order
        )

    [(total, group_ids)] = reader.read(compose)
    return group_ids, total


def _is_indexed(organization: Organization, order: GroupOrder) -> bool:
    """Whether an index has the order. A group with dropped events has two rows: the later one has the last use, but
    other orders need the sum of both."""
    return order is GroupOrder.DATE or not DroppedMonth.objects.of(organization).exists()


def _search_condition(query: GroupQuery, reader: RollupReader) -> sql.Composable:
    if not query.search:
        return sql.SQL("true")
    contains = _NAME_CONTAINS_OR_IS_ID if query.matches_id else _NAME_CONTAINS
    return contains.format(search=reader.bind(query.search))


def _load_groups(filters: RunFilter, group_ids: Sequence[str], reader: RollupReader) -> dict[str, Group]:
    """Return these groups by id."""

    def condition(parameters: Parameters) -> sql.Composable:
        on_page = sql.SQL("group_id = ANY ({}::text[])").format(bind(parameters, list(group_ids)))
        return sql.SQL("{} AND {}").format(filters.condition(parameters), on_page)

    query = RollupQuery((GROUP_DAYS,), (filters.window,), condition=condition)
    rows_by_group: dict[str, list[_GroupRow]] = {}
    rows = reader.read(lambda reader: _GROUP_ROWS.format(rows=query.rows(reader, _COLUMNS)))
    for row in map(_GroupRow._make, rows):
        rows_by_group.setdefault(row.group_id, []).append(row)
    return {group_id: _group(group_id, group_rows) for group_id, group_rows in rows_by_group.items()}


def _group(group_id: str, rows_by_group: Sequence[_GroupRow]) -> Group:
    agents: dict[str, str] = {}
    for row in rows_by_group:
        if row.agent_id:
            agents[row.agent_id] = max(agents.get(row.agent_id, ""), row.agent_name)
    return Group(
        group_id=group_id,
        name=max(row.group_name for row in rows_by_group),
        session_id=max(row.session_id for row in rows_by_group),
        first_at=min(row.first_at for row in rows_by_group),
        last_at=max(row.last_at for row in rows_by_group),
        runs=int(sum(row.runs for row in rows_by_group)),
        input_tokens=int(sum(row.input_tokens for row in rows_by_group)),
        output_tokens=int(sum(row.output_tokens for row in rows_by_group)),
        cost_usd=sum((row.cost for row in rows_by_group), ZERO),
        models=tuple(sorted({ModelKey(row.service, row.model) for row in rows_by_group if row.model})),
        agents=tuple(sorted((agent_id, name or agent_id) for agent_id, name in agents.items())),
        users=tuple(sorted({row.user_ref for row in rows_by_group if row.user_ref})),
    )
