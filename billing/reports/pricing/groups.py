"""Generation groups and their cost, page by page (document 000). Read-only.

A page is read in two steps: first its group ids, then the rows of those groups. Without a window or filter the ids come
from the indexes of `GenerationGroup` (`billing.reports.pricing.group_order`); otherwise all groups with runs in the
window are summed and sorted. Filters select runs: a group shows the sums of its matching runs, and groups without any
are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from psycopg import sql

from billing.models import DroppedMonth
from billing.reports.bucketed_query import cost_rows, plan_sources
from billing.reports.live_rollups import has_unfolded_batches, table_of
from billing.reports.pricing.group_order import GroupOrder, Page, list_page_by_index
from billing.reports.pricing.run_filter import ModelKey, Parameters, RunFilter, bind
from billing.rollups.definitions import GROUP_DAYS, GROUP_TOTALS
from costtrack.money import ZERO
from organizations.models import Organization


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
    *("first_at", "last_at", "requests", "input_tokens", "output_tokens"),
    *("cache_read_tokens", "cache_creation_tokens", "token_cost_usd", "compute_cost_usd"),
)
_ALL_TIME_ROWS = sql.SQL("SELECT * FROM {} AS run WHERE organization_id = %(organization)s")
_PAGE = sql.SQL("""
WITH matching AS MATERIALIZED (
    SELECT group_id, {sort_key} AS sort_key FROM ({rows}) AS run GROUP BY group_id HAVING {matches_search}
)
SELECT (SELECT count(*) FROM matching),
    ARRAY(SELECT group_id FROM matching ORDER BY sort_key {direction}, group_id {tie} LIMIT %(limit)s OFFSET %(offset)s)
""")
_NAME_CONTAINS = sql.SQL("strpos(lower(max(group_name)), lower(%(search)s)) > 0")
_NAME_CONTAINS_OR_IS_ID = sql.SQL("({} OR group_id = %(search)s)").format(_NAME_CONTAINS)
_GROUP_ROWS = sql.SQL("""
SELECT group_id, service, model, agent_id, user_ref, max(group_name), max(session_id), max(agent_name), min(first_at),
    max(last_at), sum(requests), sum(input_tokens + cache_read_tokens + cache_creation_tokens), sum(output_tokens),
    sum(token_cost_usd + compute_cost_usd)
FROM ({rows}) AS run GROUP BY group_id, service, model, agent_id, user_ref
""")


def groups(*, organization: Organization, query: GroupQuery) -> GroupPage:
    """Return a page of groups and the total number."""
    has_unfolded = has_unfolded_batches(organization)
    page = _page(organization, query, has_unfolded=has_unfolded)
    groups_by_id = (
        _load_groups(organization, query.runs, page.group_ids, has_unfolded=has_unfolded) if page.group_ids else {}
    )
    return GroupPage(
        tuple(groups_by_id[group_id] for group_id in page.group_ids if group_id in groups_by_id), page.total
    )


def _page(organization: Organization, query: GroupQuery, *, has_unfolded: bool) -> Page:
    if query.runs.is_unfiltered and not query.search and _is_indexed(organization, query.order):
        return list_page_by_index(
            organization=organization,
            order=query.order,
            ascending=query.ascending,
            offset=query.offset,
            limit=query.limit,
            has_unfolded=has_unfolded,
        )
    return _page_by_sum(organization, query, has_unfolded=has_unfolded)


def _is_indexed(organization: Organization, order: GroupOrder) -> bool:
    """Whether an index has the order. A group with dropped events has two rows: the later one has the last use, but
    other orders need the sum of both."""
    return order is GroupOrder.DATE or not DroppedMonth.objects.of(organization).exists()


def _page_by_sum(organization: Organization, query: GroupQuery, *, has_unfolded: bool) -> Page:
    parameters: Parameters = {
        "organization": organization.pk,
        "search": query.search,
        "limit": query.limit,
        "offset": query.offset,
    }
    statement = _PAGE.format(
        sort_key=query.order.merged,
        rows=_rows(query.runs, parameters, has_unfolded=has_unfolded),
        matches_search=_search_condition(query),
        direction=sql.SQL("ASC" if query.ascending else "DESC"),
        tie=sql.SQL("DESC" if query.ascending else "ASC"),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        total, group_ids = cursor.fetchone()
    return Page(group_ids, total)


def _search_condition(query: GroupQuery) -> sql.Composable:
    if not query.search:
        return sql.SQL("true")
    return _NAME_CONTAINS_OR_IS_ID if query.matches_id else _NAME_CONTAINS


def _load_groups(
    organization: Organization, filters: RunFilter, group_ids: Sequence[str], *, has_unfolded: bool
) -> dict[str, Group]:
    """Return these groups by id."""
    parameters: Parameters = {"organization": organization.pk}
    is_on_page = sql.SQL("group_id = ANY ({}::text[])").format(bind(parameters, list(group_ids)))
    with connection.cursor() as cursor:
        cursor.execute(
            _GROUP_ROWS.format(rows=_runs(filters, is_on_page, parameters, has_unfolded=has_unfolded)), parameters
        )
        rows_by_group: dict[str, list[_GroupRow]] = {}
        for row in map(_GroupRow._make, cursor.fetchall()):
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


def _rows(filters: RunFilter, parameters: Parameters, *, has_unfolded: bool) -> sql.Composable:
    """Select the rows that groups are sorted by; their totals if the query is unfiltered."""
    if filters.is_unfiltered:
        return _ALL_TIME_ROWS.format(table_of(GROUP_TOTALS, has_unfolded=has_unfolded))
    return _runs(filters, sql.SQL("true"), parameters, has_unfolded=has_unfolded)


def _runs(
    filters: RunFilter, condition: sql.Composable, parameters: Parameters, *, has_unfolded: bool
) -> sql.Composable:
    return cost_rows(
        plan_sources([filters.window], (GROUP_DAYS,)),
        columns=_COLUMNS,
        condition=sql.SQL("{} AND {}").format(filters.condition(parameters), condition),
        has_unfolded=has_unfolded,
        parameters=parameters,
    )
