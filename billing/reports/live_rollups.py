"""Choose between the table of a rollup and its live view, which adds unfolded batches.

Both return the same if there are no unfolded batches, but the table is several times faster: planning a query of the
view visits every partition of the ledger. A report therefore queries the table together with `HAS_UNFOLDED`, in one
statement, and queries the view only if that is true. A report of several statements checks once, before all of them, so
each includes everything acknowledged before the report began.
"""

from django.db import connection
from psycopg import sql

from billing.rollups.definitions import Rollup
from billing.rollups.sql import OF_UNFOLDED, aggregate_query, column_list, key_columns, measure_columns
from organizations.models import Organization

# An expression for a SELECT list, evaluated once per statement. Needs the parameter `organization`.
HAS_UNFOLDED = sql.SQL("(SELECT billing_has_unfolded_batches(%(organization)s))")
_IS_UNFOLDED = sql.SQL("batch.organization_id = %(organization)s AND batch.folded_at IS NULL")


def has_unfolded_batches(organization: Organization) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT {}").format(HAS_UNFOLDED), {"organization": organization.pk})
        return bool(cursor.fetchone()[0])


def table_of(rollup: Rollup, *, has_unfolded: bool) -> sql.Identifier:
    return sql.Identifier(rollup.view if has_unfolded else rollup.table)


def unfolded_rows(rollup: Rollup, *, has_unfolded: bool) -> sql.Composed:
    """Build a SELECT of the rollup's columns with the sums of unfolded events, one row per key. It needs the parameter
    `organization`. Without unfolded batches it selects nothing at no cost."""
    if not has_unfolded:
        columns = column_list([*key_columns(rollup), *measure_columns(rollup)])
        return sql.SQL("SELECT {} FROM {} WHERE false").format(columns, sql.Identifier(rollup.table))
    return aggregate_query(rollup, OF_UNFOLDED, _IS_UNFOLDED)
