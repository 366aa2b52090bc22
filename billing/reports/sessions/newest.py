"""Pages of the latest sessions or executions. Exact, and read from an index, so that cost does not grow with their
number.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from psycopg import sql

from billing.reports.live_rollups import HAS_UNFOLDED, unfolded_rows
from billing.rollups.definitions import Rollup
from organizations.models import Organization


class StartPosition(NamedTuple):
    """A position in a list that is ordered by start, latest first."""

    began_at: datetime
    key: str


class NewestKeys(NamedTuple):
    """Keys of a page, the position to continue after (None on the last page), and `has_unfolded`."""

    keys: Sequence[str]
    last: StartPosition | None
    has_unfolded: bool


# A key with an archived row began at the earlier of its two rows. Keys with unfolded events are handled separately,
# because those may start earlier.
_NEWEST = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), chosen AS (
    SELECT key, first_at FROM (
        {totals}
        UNION ALL
        SELECT {key}, least(first_at, (
            SELECT min(first_at) FROM {table} AS folded
            WHERE organization_id = %(organization)s AND folded.{key} = tail.{key}))
        FROM tail
    ) AS candidate WHERE {candidate_is_after} ORDER BY first_at DESC, key LIMIT %(enough)s
)
SELECT {has_unfolded}, array_agg(key ORDER BY first_at DESC, key), array_agg(first_at ORDER BY first_at DESC, key)
FROM chosen
""")
_TOTALS = sql.SQL("""
(SELECT {key} AS key, first_at FROM {table} AS total
WHERE organization_id = %(organization)s AND {condition} AND {key} NOT IN (SELECT {key} FROM tail)
    AND archived = (
        SELECT archived FROM {table} AS other
        WHERE organization_id = %(organization)s AND other.{key} = total.{key}
        ORDER BY first_at, archived LIMIT 1)
ORDER BY first_at DESC, {key} LIMIT %(enough)s)
""")
_ALL = sql.SQL("true")
# Two conditions, because each is one index range and their combination is not.
_AFTER = (
    sql.SQL("first_at = %(after_at)s AND {key} > %(after_key)s"),
    sql.SQL("first_at < %(after_at)s"),
)


def list_newest(
    organization: Organization, rollup: Rollup, *, limit: int, after: StartPosition | None = None
) -> NewestKeys:
    """Return the keys of a rollup with a single dimension after a position, latest start first; ties are ordered by
    key."""
    page = _fetch(organization, rollup, limit, after, has_unfolded=False)
    if page.has_unfolded:
        page = _fetch(organization, rollup, limit, after, has_unfolded=True)._replace(has_unfolded=True)
    return page


def _fetch(
    organization: Organization, rollup: Rollup, limit: int, after: StartPosition | None, *, has_unfolded: bool
) -> NewestKeys:
    key = sql.Identifier(rollup.dimensions[0].column)
    table = sql.Identifier(rollup.table)
    ranges = (_ALL,) if after is None else _AFTER
    totals = [_TOTALS.format(key=key, table=table, condition=condition.format(key=key)) for condition in ranges]
    query = _NEWEST.format(
        has_unfolded=HAS_UNFOLDED,
        tail=unfolded_rows(rollup, has_unfolded=has_unfolded),
        key=key,
        table=table,
        totals=sql.SQL(" UNION ALL ").join(totals),
        candidate_is_after=sql.SQL(" OR ").join(condition.format(key=sql.Identifier("key")) for condition in ranges),
    )
    parameters: dict[str, Any] = {"organization": organization.pk, "enough": limit + 1}
    if after is not None:
        parameters |= {"after_at": after.began_at, "after_key": after.key}
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        has_unfolded, keys, began = cursor.fetchone()
    keys = keys or []
    has_more = len(keys) > limit
    return NewestKeys(
        keys[:limit], StartPosition(began[limit - 1], keys[limit - 1]) if has_more else None, has_unfolded
    )
