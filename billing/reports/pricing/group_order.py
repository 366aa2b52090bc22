"""Which generation groups are on a page when all of them are listed: by the indexes of `GroupTotal`, so that it takes
no longer when there are many.

While something is not folded yet, its groups are added up by themselves and sorted in; they are few.
"""

from dataclasses import dataclass
from enum import Enum

from django.db import connection
from psycopg import sql

from billing.reports.live_rollups import tail_of
from billing.rollups.definitions import GROUP_TOTALS
from billing.rollups.sql import column_list, measure_columns
from organizations.models import Organization


class GroupOrder(Enum):
    """What groups are sorted by: an expression over a row of `GroupTotal`, as in one of its indexes, and how the rows
    of one group become one."""

    DATE = ("last_at", "max")
    COST = ("token_cost_usd + compute_cost_usd", "sum")
    TOKENS = ("input_tokens + cache_read_tokens + cache_creation_tokens + output_tokens", "sum")
    RUNS = ("requests", "sum")

    @property
    def of_row(self) -> sql.Composable:
        return sql.SQL("({})").format(sql.SQL(self.value[0]))

    @property
    def merged(self) -> sql.Composable:
        return sql.SQL("{}{}").format(sql.SQL(self.value[1]), self.of_row)


@dataclass(frozen=True, slots=True)
class Page:
    """The ids of a page's groups in their order, and how many groups there are in all."""

    group_ids: list[str]
    total: int


# `fresh` are the groups of which something is not folded, with all that is. Of a group that has two rows, because some
# of its events were dropped, the later one counts.
_PAGE = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), fresh AS MATERIALIZED (
    SELECT group_id, {merged} AS place, bool_or(is_known) AS is_known FROM (
        SELECT {columns}, false AS is_known FROM tail
        UNION ALL
        SELECT {columns}, true FROM billing_grouptotal
        WHERE organization_id = %(organization)s AND group_id IN (SELECT group_id FROM tail)
    ) AS run GROUP BY group_id
)
SELECT coalesce((SELECT groups FROM billing_ledgerstate WHERE organization_id = %(organization)s), 0)
        + (SELECT count(*) FROM fresh WHERE NOT is_known),
    ARRAY(
        SELECT group_id FROM (
            SELECT group_id, place FROM fresh
            UNION ALL
            (SELECT group_id, {place} FROM billing_grouptotal AS kept
            WHERE organization_id = %(organization)s AND group_id NOT IN (SELECT group_id FROM fresh)
                AND (NOT EXISTS (SELECT FROM billing_droppedmonth WHERE organization_id = %(organization)s)
                    OR archived = (
                        SELECT archived FROM billing_grouptotal AS other
                        WHERE organization_id = %(organization)s AND other.group_id = kept.group_id
                        ORDER BY last_at DESC, archived LIMIT 1))
            ORDER BY {place} {direction}, group_id {tie} LIMIT %(last)s)
        ) AS page ORDER BY place {direction}, group_id {tie} LIMIT %(limit)s OFFSET %(offset)s
    )
""")
_COLUMNS = column_list(("group_id", *measure_columns(GROUP_TOTALS)))


def page_by_index(
    *, organization: Organization, order: GroupOrder, ascending: bool, offset: int, limit: int, has_unfolded: bool
) -> Page:
    """All groups of the organization, sorted, from `offset` on. Groups that are equal are sorted by their ids."""
    statement = _PAGE.format(
        tail=tail_of(GROUP_TOTALS, has_unfolded=has_unfolded),
        merged=order.merged,
        columns=_COLUMNS,
        place=order.of_row,
        direction=sql.SQL("ASC" if ascending else "DESC"),
        tie=sql.SQL("DESC" if ascending else "ASC"),  # so that one index serves both directions
    )
    parameters = {"organization": organization.pk, "limit": limit, "offset": offset, "last": offset + limit}
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        total, group_ids = cursor.fetchone()
    return Page(group_ids, total)
