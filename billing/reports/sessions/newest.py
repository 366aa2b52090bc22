"""The newest of what a rollup has one total for: sessions, executions. Exact, and by an index however many they are."""

from django.db import connection
from psycopg import sql

from billing.reports.fresh import SOMETHING_WAITS, tail_of
from billing.rollups.definitions import Rollup
from organizations.models import Organization

# Of what has an archived row as well, the row that begins first says when it began. What has events that are not folded
# yet is looked at by itself: they may have made it begin earlier.
_NEWEST = sql.SQL("""
WITH tail AS MATERIALIZED ({tail})
SELECT {waits}, ARRAY(SELECT key FROM (
    (SELECT {key} AS key, first_at FROM {table} AS total
    WHERE organization_id = %(organization)s AND {key} NOT IN (SELECT {key} FROM tail)
        AND archived = (
            SELECT archived FROM {table} AS other WHERE organization_id = %(organization)s AND other.{key} = total.{key}
            ORDER BY first_at, archived LIMIT 1)
    ORDER BY first_at DESC, {key} LIMIT %(limit)s)
    UNION ALL
    SELECT {key}, least(first_at, (
        SELECT min(first_at) FROM {table} AS kept WHERE organization_id = %(organization)s AND kept.{key} = tail.{key}))
    FROM tail
) AS candidate ORDER BY first_at DESC, key LIMIT %(limit)s)
""")


def newest(organization: Organization, rollup: Rollup, *, limit: int) -> tuple[list[str], bool]:
    """The keys (the rollup's only dimension), what began last first, and by key what began together. And whether
    something is not folded yet."""
    keys, waits = _ask(organization, rollup, limit, waits=False)
    if waits:
        keys, _ = _ask(organization, rollup, limit, waits=True)
    return keys, waits


def _ask(organization: Organization, rollup: Rollup, limit: int, *, waits: bool) -> tuple[list[str], bool]:
    query = _NEWEST.format(
        waits=SOMETHING_WAITS,
        tail=tail_of(rollup, waits=waits),
        key=sql.Identifier(rollup.dimensions[0].column),
        table=sql.Identifier(rollup.table),
    )
    with connection.cursor() as cursor:
        cursor.execute(query, {"organization": organization.pk, "limit": limit})
        something_waits, keys = cursor.fetchone()
        return keys, something_waits
