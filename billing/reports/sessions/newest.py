"""The newest of what a rollup has one total for: sessions, executions. Exact, and by an index however many they are."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from psycopg import sql

from billing.reports.live_rollups import HAS_UNFOLDED, tail_of
from billing.rollups.definitions import Rollup
from organizations.models import Organization


class Place(NamedTuple):
    """When something began, and its key: a place in the list of what began last."""

    began_at: datetime
    key: str


class Newest(NamedTuple):
    """Keys, and the place to go on from (None: there are no more). And whether something is not folded yet."""

    keys: Sequence[str]
    last: Place | None
    has_unfolded: bool


# Of what has an archived row as well, the row that begins first says when it began. What has events that are not folded
# yet is looked at by itself: they may have made it begin earlier.
_NEWEST = sql.SQL("""
WITH tail AS MATERIALIZED ({tail}), chosen AS (
    SELECT key, first_at FROM (
        {totals}
        UNION ALL
        SELECT {key}, least(first_at, (
            SELECT min(first_at) FROM {table} AS kept
            WHERE organization_id = %(organization)s AND kept.{key} = tail.{key}))
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
# What began at the same instant and what began earlier: each is a range of the index, and both together are not.
_AFTER = (
    sql.SQL("first_at = %(after_at)s AND {key} > %(after_key)s"),
    sql.SQL("first_at < %(after_at)s"),
)


def newest(organization: Organization, rollup: Rollup, *, limit: int, after: Place | None = None) -> Newest:
    """The keys (the rollup's only dimension), what began last first, and by key what began together; from just after a
    place on."""
    found = _ask(organization, rollup, limit, after, has_unfolded=False)
    if found.has_unfolded:
        found = _ask(organization, rollup, limit, after, has_unfolded=True)._replace(has_unfolded=True)
    return found


def _ask(organization: Organization, rollup: Rollup, limit: int, after: Place | None, *, has_unfolded: bool) -> Newest:
    key = sql.Identifier(rollup.dimensions[0].column)
    table = sql.Identifier(rollup.table)
    ranges = (_ALL,) if after is None else _AFTER
    totals = [_TOTALS.format(key=key, table=table, condition=condition.format(key=key)) for condition in ranges]
    query = _NEWEST.format(
        has_unfolded=HAS_UNFOLDED,
        tail=tail_of(rollup, has_unfolded=has_unfolded),
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
    return Newest(keys[:limit], Place(began[limit - 1], keys[limit - 1]) if has_more else None, has_unfolded)
