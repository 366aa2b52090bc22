"""Delete the data of organizations whose grace period is over (`organizations.services.closing`), in bounded steps.

The tables come from the database's catalog: every table with an organization's id, those that refer to others first,
so that a new table needs no entry here. Each step is one transaction that deletes rows of one table and counts them, so
any worker can continue after another one has died. The last step locks the organization against new rows, checks that
no table has any, and deletes the organization itself.

Files of archived events are deleted before their rows. Old rows of the ledger are deleted in its partitions, which the
trigger of the parent table does not see.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from graphlib import TopologicalSorter
from typing import Any

from django.db import OperationalError, connection, transaction
from django.db.models import Sum
from psycopg import sql

from billing.archives.manifest import delete_files
from billing.ledger.partitions import LEDGER, Partition, drop, partitions
from billing.models import EventArchive
from billing.models.rollups import COST, OrganizationHour
from billing.rollups.locks import lock_rollups
from costtrack.clock import utc_now
from costtrack.database.queries import fetch_rows
from costtrack.money import ZERO, plain
from organizations.failures import log_failure
from organizations.models import Closing, Membership, Organization
from organizations.services import finish_deletion

MAX_ROWS = 10_000
"""Rows that one step deletes."""
_FIRST = ("billing_ingestbatch", LEDGER)
"""Without batches and events nothing is added to the rollups again."""
_ARCHIVES = EventArchive._meta.db_table  # noqa: SLF001 - documented for such use
_LAST = frozenset({Membership._meta.db_table, Closing._meta.db_table})  # noqa: SLF001 - documented for such use
"""Deleted with the organization itself."""

_TABLES = """
SELECT relname
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'organization_id'
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
ORDER BY relname
"""
_REFERENCES = """
SELECT DISTINCT referring.relname, referred.relname
FROM pg_constraint
JOIN pg_class AS referring ON referring.oid = conrelid
JOIN pg_class AS referred ON referred.oid = confrelid
WHERE contype = 'f' AND conrelid <> confrelid
ORDER BY 1, 2
"""
_DELETE = sql.SQL(
    "DELETE FROM {table} WHERE organization_id = %(organization)s AND ctid = ANY (ARRAY("
    "SELECT ctid FROM {table} WHERE organization_id = %(organization)s LIMIT %(limit)s))"
)
_HAS_ROWS = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE organization_id = %s)")
_COUNT = sql.SQL("SELECT count(*) FROM {} WHERE organization_id = %s")


def tables_in_order() -> list[str]:
    """Return the tables with rows of organizations, such that rows are deleted before those that they refer to."""
    tables = [table for (table,) in fetch_rows(_TABLES) if table not in _LAST]
    graph: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(tables, ()))
    for referring, referred in fetch_rows(_REFERENCES):
        if referring in tables and referred in tables:
            graph.add(referred, referring)
    ordered = list(graph.static_order())
    return [*_FIRST, *(table for table in ordered if table not in _FIRST)]


def delete_closed_organizations(*, now: datetime, seconds: float) -> bool:
    """Delete data for about this many seconds. Return whether some is left. An organization that fails does not delay
    the others."""
    began, has_more = utc_now(), False
    due = Organization.objects.filter(closes_at__lte=now).order_by("closes_at", "pk")
    for organization_id in list(due.values_list("pk", flat=True)):
        with log_failure(organization_id, "the data of a closed organization could not be deleted"):
            while utc_now() - began < timedelta(seconds=seconds):
                if not delete_next_step(organization_id=organization_id, now=now):
                    break
            else:
                has_more = True
    return has_more


@transaction.atomic
def delete_next_step(*, organization_id: int, now: datetime) -> bool:
    """Delete some rows of one table, or at the end the organization itself. Return whether anything is left to do;
    False too if another worker is doing a step."""
    rows = Organization.objects.select_for_update(no_key=True, skip_locked=True)
    organization = rows.filter(pk=organization_id, closes_at__lte=now).first()
    if organization is None:
        return False
    with connection.cursor() as cursor:
        closing = Closing.objects.select_for_update().get(organization=organization)
        if not closing.cost_usd:
            closing.cost_usd = plain(_total(organization))
        for table in tables_in_order():
            if table not in _FIRST:  # archival locks the partition first
                lock_rollups(cursor, organization_id)
            deleted = _delete(cursor, table, organization_id)
            if deleted:
                closing.deleted_rows[table] = closing.deleted_rows.get(table, 0) + deleted
                closing.save(update_fields=["deleted_rows", "cost_usd"])
                return True
        closing.save(update_fields=["cost_usd"])
        # Waits for requests that are adding rows; later ones fail, because the organization is gone.
        Organization.objects.select_for_update().get(pk=organization_id)
        if _has_rows(cursor, organization_id):
            return True
    finish_deletion(organization=organization, now=now)
    return False


def _total(organization: Organization) -> Decimal:
    costs = OrganizationHour.live().objects.of(organization).aggregate(total=Sum(COST))
    return costs["total"] or ZERO


def _delete(cursor: Any, table: str, organization_id: int) -> int:
    if table == _ARCHIVES:
        for archive in EventArchive.objects.filter(organization_id=organization_id):
            for name in filter(None, (archive.file_name, archive.replaced_file)):
                delete_files(archive, name)
    if table != LEDGER:
        return _delete_rows(cursor, table, organization_id)
    for partition in partitions():
        if partition.organization_id == organization_id:
            deleted = _drop(cursor, partition, organization_id)
        else:
            deleted = _delete_rows(cursor, partition.name, organization_id) if partition.organization_id is None else 0
        if deleted:
            return deleted
    return 0


def _delete_rows(cursor: Any, table: str, organization_id: int) -> int:
    statement = _DELETE.format(table=sql.Identifier(table))
    cursor.execute(statement, {"organization": organization_id, "limit": MAX_ROWS})
    return int(cursor.rowcount)


def _drop(cursor: Any, partition: Partition, organization_id: int) -> int:
    """Drop a partition of the organization, or delete some of its rows while it is in use. Return the rows."""
    cursor.execute(_COUNT.format(sql.Identifier(partition.name)), [organization_id])
    (rows,) = cursor.fetchone()
    try:
        drop(partition)
    except OperationalError:
        return _delete_rows(cursor, partition.name, organization_id)
    return int(rows)


def _has_rows(cursor: Any, organization_id: int) -> bool:
    for table in tables_in_order():
        cursor.execute(_HAS_ROWS.format(sql.Identifier(table)), [organization_id])
        (has_rows,) = cursor.fetchone()
        if has_rows:
            return True
    return False
