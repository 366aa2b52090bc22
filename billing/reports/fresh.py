"""Where a report reads a rollup: its table, or, while something is not folded yet, its view, which has that as well.

Both answer the same when nothing waits, and the table answers several times sooner: planning a query of the view goes
through every partition of the ledger. A report asks the table together with whether something waits, in one statement
and so at one moment; only if something does, it asks the view.
"""

from psycopg import sql

from billing.rollups.definitions import Rollup

# For a SELECT's list; takes the parameter `organization`.
SOMETHING_WAITS = sql.SQL("billing_something_waits(%(organization)s)")


def table_of(rollup: Rollup, *, waits: bool) -> sql.Identifier:
    return sql.Identifier(rollup.view if waits else rollup.table)
