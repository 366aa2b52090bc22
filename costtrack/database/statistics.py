"""Planner statistics: a migration of a large table without them can take hours instead of seconds.

A restored dump has none (before PostgreSQL 18), and autovacuum never collects those of a partitioned table.
"""

from django.db import connection
from psycopg import sql

# Tables with rows that lack statistics, as a whole or in one of their partitions.
_TABLES = """
SELECT DISTINCT coalesce(pg_partition_root(leaf.oid), leaf.oid)::regclass::text
FROM pg_class AS leaf
WHERE leaf.relnamespace = 'public'::regnamespace
    AND leaf.relkind = 'r'
    AND pg_relation_size(leaf.oid) > 0
    AND EXISTS (
        SELECT FROM pg_class AS examined
        WHERE examined.oid IN (leaf.oid, pg_partition_root(leaf.oid))
            AND NOT EXISTS (
                SELECT FROM pg_stats
                WHERE pg_stats.schemaname = 'public' AND pg_stats.tablename = examined.relname
            )
    )
ORDER BY 1
"""


def collect_missing_statistics() -> list[str]:
    """Analyze the tables that have rows but no statistics, and return their names."""
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        tables = [str(name) for (name,) in cursor.fetchall()]
        for table in tables:
            cursor.execute(sql.SQL("ANALYZE {}").format(sql.SQL(table)))
    return tables
