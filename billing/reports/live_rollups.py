"""Where a report reads a rollup: its table, or, while something is not folded yet, its view, which has that as well.

Both answer the same when nothing waits, and the table answers several times sooner: planning a query of the view goes
through every partition of the ledger. A report asks the table together with whether something waits, in one statement
and so at one moment; only if something does, it asks the view. A report of several statements asks whether something
waits before them all: so whatever was acknowledged before the report began is in each of them.
"""

from django.db import connection
from psycopg import sql

from billing.rollups.definitions import Rollup
from billing.rollups.sql import OF_UNFOLDED, aggregated, column_list, key_columns, measure_columns
from organizations.models import Organization

# For a SELECT's list, and asked once however many rows that has; takes the parameter `organization`.
HAS_UNFOLDED = sql.SQL("(SELECT billing_something_waits(%(organization)s))")
_IN_TAIL = sql.SQL("batch.organization_id = %(organization)s AND batch.folded_at IS NULL")


def has_unfolded_batches(organization: Organization) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT {}").format(HAS_UNFOLDED), {"organization": organization.pk})
        return bool(cursor.fetchone()[0])


def table_of(rollup: Rollup, *, has_unfolded: bool) -> sql.Identifier:
    return sql.Identifier(rollup.view if has_unfolded else rollup.table)


def tail_of(rollup: Rollup, *, has_unfolded: bool) -> sql.Composed:
    """SELECT of the rollup's columns: what the events that are not folded yet add up to, one row for each key. Takes
    the parameter `organization`. If nothing waits it selects nothing, and PostgreSQL knows without looking."""
    if not has_unfolded:
        columns = column_list([*key_columns(rollup), *measure_columns(rollup)])
        return sql.SQL("SELECT {} FROM {} WHERE false").format(columns, sql.Identifier(rollup.table))
    return aggregated(rollup, OF_UNFOLDED, _IN_TAIL)
