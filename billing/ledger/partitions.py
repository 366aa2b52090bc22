"""Partitions of the ledger: one for each month of receipt, and in it one for each of the busiest organizations
(docs/decisions/007-ledger-partitions.md).

An event's id begins with the time of its receipt, so a month is a range of ids: new events go to the newest partition
whenever they occurred, and the indexes they touch stay small. Old events are dropped with their partition.
Organizations without a partition of their own share the month's default one.

Partitions are created as tables and then attached, which does not block reads and writes.

A distributed database has months alone (docs/distribution.md): each is what the others share elsewhere.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection
from psycopg import sql

from costtrack.database.queries import fetch_rows
from costtrack.ids import ids_at
from costtrack.roles import TENANT_ROLE
from costtrack.tenancy import owner_scope

LEDGER = "billing_usageevent"
MAX_OWN_PARTITIONS = 200
"""How many organizations get partitions of their own; bounds the number of tables."""

# An arbitrary key of the advisory lock that serializes the creation of partitions.
_LOCK = 7_301_116

_EXISTING = """
SELECT leaf.relname, pg_total_relation_size(leaf.oid)
FROM pg_partition_tree(%s) AS part JOIN pg_class AS leaf ON leaf.oid = part.relid
WHERE part.isleaf AND leaf.relkind = 'r'
ORDER BY leaf.relname
"""
# Connections of one transaction to the same worker would wait for each other's lock of the ledger.
_SHARD_AFTER_SHARD = "SET LOCAL citus.multi_shard_modify_mode = 'sequential'"
_LIKE_LEDGER = sql.SQL("CREATE TABLE {} (LIKE billing_usageevent INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
_BY_ORGANIZATION = sql.SQL(" PARTITION BY LIST (organization_id)")

_EMPTY_MONTHS = """
SELECT month.relname FROM pg_inherits AS months JOIN pg_class AS month ON month.oid = months.inhrelid
WHERE months.inhparent = %s::regclass AND month.relkind = 'p'
    AND NOT EXISTS (SELECT FROM pg_inherits AS leaves WHERE leaves.inhparent = month.oid)
ORDER BY month.relname
"""
# A queued exclusive lock blocks all later requests, so it times out soon. It does so before the deadlock check (after
# one second), so that a request never fails because of it.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '900ms'"

# The organizations with the most events since an id.
_BUSY = """
SELECT organization_id FROM billing_ingestbatch WHERE id >= %s
GROUP BY organization_id ORDER BY sum(accepted) DESC, organization_id LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A table with the rows of one organization, or (None) of all organizations without an own one in that month."""

    name: str
    month: datetime
    organization_id: int | None
    bytes: int


def month_of(instant: datetime) -> datetime:
    """Return the start of the month, in UTC."""
    return instant.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def partitions() -> list[Partition]:
    """Return all partitions, oldest first."""
    rows = fetch_rows(_EXISTING, [LEDGER])
    return [Partition(leaf, _month_named(leaf), _organization_in(leaf), size) for leaf, size in rows]


def ensure_month(instant: datetime) -> None:
    """Create the partition for events received in that month, unless it exists."""
    month = month_of(instant)
    with owner_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        name = _month_name(month)
        bounds = sql.SQL("FOR VALUES FROM ({}) TO ({})").format(
            sql.Literal(ids_at(month)[0]), sql.Literal(ids_at(next_month(month))[0])
        )
        if settings.DISTRIBUTED:
            if not exists(cursor, shared_name(name)):
                cursor.execute(_SHARD_AFTER_SHARD)
                _make_leaf(cursor, LEDGER, shared_name(name), bounds)
            return
        if exists(cursor, name):
            if not exists(cursor, shared_name(name)):
                _make_leaf(cursor, name, shared_name(name), sql.SQL("DEFAULT"))
            return
        cursor.execute(_LIKE_LEDGER.format(sql.Identifier(name)) + _BY_ORGANIZATION)
        _make_leaf(cursor, name, shared_name(name), sql.SQL("DEFAULT"))
        cursor.execute(
            sql.SQL("ALTER TABLE {} ATTACH PARTITION {} {}").format(
                sql.Identifier(LEDGER), sql.Identifier(name), bounds
            )
        )
        _hide(cursor, name)


def prepare(now: datetime) -> None:
    """Create the partitions of this month and the next, with one for each busy organization in the next. A distributed
    ledger has shards instead of partitions of organizations.

    Before the month begins there are no rows that would have to be moved.
    """
    ensure_month(now)
    following = next_month(month_of(now))
    ensure_month(following)
    if settings.DISTRIBUTED:
        return
    with owner_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(_BUSY, [ids_at(month_of(now))[0], MAX_OWN_PARTITIONS])
        for (organization_id,) in cursor.fetchall():
            month_name = _month_name(following)
            name = f"{month_name}_o{organization_id}"
            if not exists(cursor, name):
                bound = sql.SQL("FOR VALUES IN ({})").format(sql.Literal(organization_id))
                _make_leaf(cursor, month_name, name, bound)


def exists(cursor: Any, name: str) -> bool:
    """Whether a table with that name exists. (`to_regclass` may not see recent changes of other transactions.)"""
    cursor.execute("SELECT EXISTS (SELECT FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid))", [name])
    (rows,) = cursor.fetchone()
    return bool(rows)


def drop(partition: Partition) -> None:
    """Drop the partition, which frees its disk space at once. Raises OperationalError while the table is in use."""
    with owner_scope(), connection.cursor() as cursor:
        cursor.execute(_LOCK_TIMEOUT)
        cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(partition.name)))


def drop_empty_months() -> None:
    """Drop months without partitions. Raises OperationalError while the ledger is in use."""
    with owner_scope(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute(_EMPTY_MONTHS, [LEDGER])
        for (name,) in cursor.fetchall():
            cursor.execute(_LOCK_TIMEOUT)
            cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


def _make_leaf(cursor: Any, month_name: str, name: str, bound: sql.Composable) -> None:
    cursor.execute(_LIKE_LEDGER.format(sql.Identifier(name)))
    cursor.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} {}").format(sql.Identifier(month_name), sql.Identifier(name), bound)
    )
    _hide(cursor, name)


def _hide(cursor: Any, name: str) -> None:
    """Revoke the tenants' access to a partition: row-level security applies only through the parent table."""
    cursor.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.Identifier(name), sql.Identifier(TENANT_ROLE)))


def _month_name(month: datetime) -> str:
    return f"{LEDGER}_{month:%Y_%m}"


def shared_name(month_name: str) -> str:
    return f"{month_name}_shared"


def _month_named(leaf: str) -> datetime:
    return datetime.strptime(leaf.rpartition("_")[0], f"{LEDGER}_%Y_%m").replace(tzinfo=UTC)


def _organization_in(leaf: str) -> int | None:
    last = leaf.rpartition("_")[2]
    return int(last[1:]) if last.startswith("o") else None
