"""Pages over all generation groups of an organization, read from the indexes of `GenerationGroup`, so that cost does
not grow with the number of groups. Groups with unfolded events are summed separately and merged; they are few.
"""

from dataclasses import dataclass
from enum import Enum

from django.db import connection
from psycopg import sql

from billing.reports.live_rollups import unfolded_rows
from billing.rollups.definitions import GROUP_TOTALS
from billing.rollups.sql import column_list, measure_columns
from organizations.models import Organization


class GroupOrder(Enum):
    """Sort keys: an expression over a row of `GenerationGroup` that has an index, and the aggregate that merges
    the rows of a group."""

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


@dataclass(frozen=True, slots=True)
class Page:
    """The group ids of a page in their order, and the total number of groups."""

    group_ids: list[str]
    total: int


# `unfolded` has the groups with unfolded events, including their folded rows. A group has two rows if some of its
# events were dropped; the later one counts.
_PAGE = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), unfolded AS MATERIALIZED (
    SELECT group_id, {merged} AS sort_key, bool_or(is_known) AS is_known FROM (
        SELECT {columns}, false AS is_known FROM tail
        UNION ALL
        SELECT {columns}, true FROM billing_generationgroup
        WHERE organization_id = %(organization)s AND group_id IN (SELECT group_id FROM tail)
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
            ORDER BY {sort_key} {direction}, group_id {tie} LIMIT %(last)s)
        ) AS page ORDER BY sort_key {direction}, group_id {tie} LIMIT %(limit)s OFFSET %(offset)s
    )
""")
_COLUMNS = column_list(("group_id", *measure_columns(GROUP_TOTALS)))


def list_page_by_index(
    *, organization: Organization, order: GroupOrder, ascending: bool, offset: int, limit: int, has_unfolded: bool
) -> Page:
    """Return a page of all groups, sorted. Ties are ordered by id."""
    statement = _PAGE.format(
        tail=unfolded_rows(GROUP_TOTALS, has_unfolded=has_unfolded),
        merged=order.merged,
        columns=_COLUMNS,
        sort_key=order.row_expression,
        direction=sql.SQL("ASC" if ascending else "DESC"),
        tie=sql.SQL("DESC" if ascending else "ASC"),  # so that one index serves both directions
    )
    parameters = {"organization": organization.pk, "limit": limit, "offset": offset, "last": offset + limit}
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        total, group_ids = cursor.fetchone()
    return Page(group_ids, total)
