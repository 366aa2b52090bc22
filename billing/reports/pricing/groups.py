"""Generation groups and what they cost, page by page (document 000). Read-only.

First comes which groups are on the page, and then what they are made of. Which groups: without a window or a filter,
the indexes of `GroupTotal` know the order (`billing.reports.pricing.group_order`); otherwise all groups with runs in
the window are added up and sorted. A filter picks runs: a group shows what those of its runs add up to, and a group
without any is not there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection
from psycopg import sql

from billing.models import DroppedMonth
from billing.reports.bucketed_query import cascade, cost_rows
from billing.reports.live_rollups import has_unfolded_batches, table_of
from billing.reports.pricing.group_order import GroupOrder, Page, page_by_index
from billing.reports.pricing.run_filter import ModelKey, Parameters, RunFilter, bound
from billing.rollups.definitions import GROUP_DAYS, GROUP_TOTALS
from costtrack.money import ZERO
from organizations.models import Organization


@dataclass(frozen=True, slots=True)
class GroupQuestion:
    """`search` is a part of the group's name, in any case, or, with `finds_id`, the group's id; empty: all."""

    runs: RunFilter = field(default_factory=RunFilter)
    search: str = ""
    finds_id: bool = False
    order: GroupOrder = GroupOrder.DATE
    ascending: bool = False
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Group:
    """`input_tokens` are all prompt tokens, cached ones too. What has no name is called by its id."""

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


class _Part(NamedTuple):
    """What a group spent with one model, agent and user."""

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
_OVER_ALL_TIME = sql.SQL("SELECT * FROM {} AS run WHERE organization_id = %(organization)s")
_PAGE = sql.SQL("""
WITH found AS MATERIALIZED (
    SELECT group_id, {place} AS place FROM ({rows}) AS run GROUP BY group_id HAVING {is_searched}
)
SELECT (SELECT count(*) FROM found),
    ARRAY(SELECT group_id FROM found ORDER BY place {direction}, group_id {tie} LIMIT %(limit)s OFFSET %(offset)s)
""")
_HAS_IN_NAME = sql.SQL("strpos(lower(max(group_name)), lower(%(search)s)) > 0")
_HAS_IN_NAME_OR_IS = sql.SQL("({} OR group_id = %(search)s)").format(_HAS_IN_NAME)
_PARTS = sql.SQL("""
SELECT group_id, service, model, agent_id, user_ref, max(group_name), max(session_id), max(agent_name), min(first_at),
    max(last_at), sum(requests), sum(input_tokens + cache_read_tokens + cache_creation_tokens), sum(output_tokens),
    sum(token_cost_usd + compute_cost_usd)
FROM ({rows}) AS run GROUP BY group_id, service, model, agent_id, user_ref
""")


def groups(*, organization: Organization, query: GroupQuestion) -> GroupPage:
    """A page of groups, and how many there are in all."""
    has_unfolded = has_unfolded_batches(organization)
    page = _page(organization, query, has_unfolded=has_unfolded)
    found = _groups_of(organization, query.runs, page.group_ids, has_unfolded=has_unfolded) if page.group_ids else {}
    return GroupPage(tuple(found[group_id] for group_id in page.group_ids if group_id in found), page.total)


def _page(organization: Organization, query: GroupQuestion, *, has_unfolded: bool) -> Page:
    if query.runs.is_everything and not query.search and _is_indexed(organization, query.order):
        return page_by_index(
            organization=organization,
            order=query.order,
            ascending=query.ascending,
            offset=query.offset,
            limit=query.limit,
            has_unfolded=has_unfolded,
        )
    return _page_by_sum(organization, query, has_unfolded=has_unfolded)


def _is_indexed(organization: Organization, order: GroupOrder) -> bool:
    """A group that had some of its events dropped has two rows. The later one tells when it was used last; what it
    cost, only both together."""
    return order is GroupOrder.DATE or not DroppedMonth.objects.of(organization).exists()


def _page_by_sum(organization: Organization, query: GroupQuestion, *, has_unfolded: bool) -> Page:
    parameters: Parameters = {
        "organization": organization.pk,
        "search": query.search,
        "limit": query.limit,
        "offset": query.offset,
    }
    statement = _PAGE.format(
        place=query.order.merged,
        rows=_rows(query.runs, parameters, has_unfolded=has_unfolded),
        is_searched=_searched(query),
        direction=sql.SQL("ASC" if query.ascending else "DESC"),
        tie=sql.SQL("DESC" if query.ascending else "ASC"),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        total, group_ids = cursor.fetchone()
    return Page(group_ids, total)


def _searched(query: GroupQuestion) -> sql.Composable:
    if not query.search:
        return sql.SQL("true")
    return _HAS_IN_NAME_OR_IS if query.finds_id else _HAS_IN_NAME


def _groups_of(
    organization: Organization, filters: RunFilter, group_ids: Sequence[str], *, has_unfolded: bool
) -> dict[str, Group]:
    """What these groups are made of, by their ids."""
    parameters: Parameters = {"organization": organization.pk}
    is_one = sql.SQL("group_id = ANY ({}::text[])").format(bound(parameters, list(group_ids)))
    with connection.cursor() as cursor:
        cursor.execute(_PARTS.format(rows=_runs(filters, is_one, parameters, has_unfolded=has_unfolded)), parameters)
        parts: dict[str, list[_Part]] = {}
        for row in map(_Part._make, cursor.fetchall()):
            parts.setdefault(row.group_id, []).append(row)
    return {group_id: _group(group_id, of_group) for group_id, of_group in parts.items()}


def _group(group_id: str, parts: Sequence[_Part]) -> Group:
    agents: dict[str, str] = {}
    for part in parts:
        if part.agent_id:
            agents[part.agent_id] = max(agents.get(part.agent_id, ""), part.agent_name)
    return Group(
        group_id=group_id,
        name=max(part.group_name for part in parts),
        session_id=max(part.session_id for part in parts),
        first_at=min(part.first_at for part in parts),
        last_at=max(part.last_at for part in parts),
        runs=int(sum(part.runs for part in parts)),
        input_tokens=int(sum(part.input_tokens for part in parts)),
        output_tokens=int(sum(part.output_tokens for part in parts)),
        cost_usd=sum((part.cost for part in parts), ZERO),
        models=tuple(sorted({ModelKey(part.service, part.model) for part in parts if part.model})),
        agents=tuple(sorted((agent_id, name or agent_id) for agent_id, name in agents.items())),
        users=tuple(sorted({part.user_ref for part in parts if part.user_ref})),
    )


def _rows(filters: RunFilter, parameters: Parameters, *, has_unfolded: bool) -> sql.Composable:
    """What groups are sorted by; from their totals, if all their runs are wanted."""
    if filters.is_everything:
        return _OVER_ALL_TIME.format(table_of(GROUP_TOTALS, has_unfolded=has_unfolded))
    return _runs(filters, sql.SQL("true"), parameters, has_unfolded=has_unfolded)


def _runs(
    filters: RunFilter, condition: sql.Composable, parameters: Parameters, *, has_unfolded: bool
) -> sql.Composable:
    return cost_rows(
        cascade([filters.window], (GROUP_DAYS,)),
        columns=_COLUMNS,
        condition=sql.SQL("{} AND {}").format(filters.chosen(parameters), condition),
        has_unfolded=has_unfolded,
        parameters=parameters,
    )
