"""Where a report reads a rollup: its table, or, while something is not folded yet, its view, which has that as well.

Both answer the same when nothing waits, and the table answers several times sooner: planning a query of the view goes
through every partition of the ledger. Asking first is exact: what was acknowledged before this question is either
folded, and in the table for every later query, or it is found waiting.
"""

from typing import Any

from django.db.models import QuerySet
from psycopg import sql

from billing.models import IngestBatch
from billing.rollups.definitions import Rollup
from organizations.models import Organization

# For a SELECT's list; takes the parameter `organization`.
SOMETHING_WAITS = sql.SQL(
    "EXISTS (SELECT FROM billing_ingestbatch WHERE organization_id = %(organization)s AND folded_at IS NULL)"
)


def something_waits(organization: Organization) -> bool:
    """Whether the organization has batches that are not folded yet."""
    return IngestBatch.objects.of(organization).filter(folded_at=None).exists()


def table_of(rollup: Rollup, *, waits: bool) -> sql.Identifier:
    return sql.Identifier(rollup.view if waits else rollup.table)


def rows_of(rollup: Rollup, organization: Organization) -> QuerySet[Any]:
    """The organization's rows of a rollup, up to date. There may be several for one key: always sum them up."""
    model = rollup.live if something_waits(organization) else rollup.model
    return model._default_manager.filter(organization=organization)  # noqa: SLF001 - documented for such use
