"""Retention: drops old events by the month of their receipt, without changing any total
(docs/decisions/008-retention.md).

One transaction moves the sums of the events to the rollups' archived rows (`billing.rollups.archived_rows`) and drops
the partition. Reports include archived rows, so totals do not change. The event keys stay, so sending a dropped event
again is a duplicate.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from time import sleep
from typing import Any

from django.db import OperationalError, ProgrammingError, connection, transaction
from psycopg import sql
from psycopg.errors import LockNotAvailable, UndefinedTable

from billing.ledger.partitions import Partition, drop, drop_empty_months, exists, month_of, next_month, partitions
from billing.rollups.archived_rows import archive
from billing.rollups.types import Dropped
from costtrack.errors import ConflictError, field_error
from costtrack.tenancy import owner_scope
from organizations.models import Organization

logger = logging.getLogger(__name__)

# An arbitrary key of the advisory lock that serializes drops.
_LOCK = 7_301_117
# Maximum number of organizations that are archived in one transaction. In a partition with more, the events of the
# smallest ones are deleted first, organization by organization.
_MAX_ORGANIZATIONS = 200
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.5
_SYSTEM = "system"

_COUNTS = sql.SQL("SELECT organization_id, count(*) FROM {} WHERE {} GROUP BY 1 ORDER BY 2 DESC, 1")
_OF_ORGANIZATION = sql.SQL("organization_id = {}")

Report = Callable[[Dropped], None]


def drop_events(
    *, before: datetime, organization: Organization | None = None, actor: str, now: datetime, report: Report
) -> None:
    """Drop events received before the start of a month, of one organization or of all. Safe to repeat if interrupted.

    `report` is called for each partition. Raises InvalidError for `before`, ConflictError if a partition stays in use
    for too long.
    """
    for partition in _due(before, organization, now):
        if organization is None:
            for organization_id in list(_counts(partition))[_MAX_ORGANIZATIONS:]:
                report(_delete(partition, organization_id, actor, now))
            report(_drop(partition, actor, now))
        elif partition.organization_id == organization.pk:
            report(_drop(partition, actor, now))
        elif _counts(partition, organization):
            report(_delete(partition, organization.pk, actor, now))
    _tidy_up()


def drop_archived(
    *, partition: Partition, organization: Organization, actor: str, now: datetime, check: Callable[[], None]
) -> int:
    """Drop one organization's events of a partition and return their number. `check` runs while the partition cannot be
    changed; if it raises an error, nothing is dropped. Its writes are in the same transaction.

    Raises ConflictError if the partition is gone, or stays in use for too long.
    """
    with owner_scope(), connection.cursor() as cursor:
        if not _lock_partition(cursor, partition):
            raise ConflictError(f"{partition.name} was just dropped.")
        check()
        events = archive(cursor, partition, organization, actor=actor, now=now)
        if set(_counts(partition)) <= {organization.pk}:
            _drop_with_retries(partition)
        else:
            _delete_rows(cursor, partition, organization.pk)
    _tidy_up()
    return events


def lock_months(cursor: Any) -> None:
    """Wait until no month is being dropped, and let none be dropped until the transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def events_in(partition: Partition, organization: Organization) -> int:
    """Return the number of an organization's events in a partition."""
    return _counts(partition, organization).get(organization.pk, 0)


def preview_drop(*, before: datetime, organization: Organization | None = None, now: datetime) -> list[Dropped]:
    """Return what `drop_events` would report. Raises InvalidError."""
    dropped = []
    for partition in _due(before, organization, now):
        counts = _counts(partition, organization)
        drops_table = organization is None or partition.organization_id == organization.pk
        if counts or drops_table:
            size = partition.bytes if drops_table else 0
            dropped.append(Dropped(partition.month, len(counts), sum(counts.values()), size))
    return dropped


def retain(*, months: int, now: datetime, report: Report) -> None:
    """Drop events older than `months` months before this one (0: none), and those of organizations with a shorter
    retention."""
    if months:
        drop_events(before=months_before(now, months), actor=_SYSTEM, now=now, report=report)
    for organization in Organization.objects.stored(now).filter(retention_months__gt=0).order_by("pk"):
        if not months or organization.retention_months < months:
            before = months_before(now, organization.retention_months)
            drop_events(before=before, organization=organization, actor=_SYSTEM, now=now, report=report)


def months_before(now: datetime, months: int) -> datetime:
    month = month_of(now)
    index = month.year * 12 + month.month - 1 - months
    return month.replace(year=index // 12, month=index % 12 + 1)


def _due(before: datetime, organization: Organization | None, now: datetime) -> list[Partition]:
    if before != month_of(before):
        raise field_error("before", "Must be the start of a month (UTC).")
    if before > month_of(now):
        raise field_error("before", "Must not be later than the current month.")
    due = [partition for partition in partitions() if next_month(partition.month) <= before]
    if organization is not None:
        due = [partition for partition in due if partition.organization_id in (None, organization.pk)]
    return due


def _counts(partition: Partition, organization: Organization | None = None) -> dict[int, int]:
    """Return the number of events of each organization, or of this one, most first. Empty if the partition was just
    dropped."""
    condition = sql.SQL("true") if organization is None else _OF_ORGANIZATION.format(organization.pk)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_COUNTS.format(sql.Identifier(partition.name), condition))
            return dict(cursor.fetchall())
    except ProgrammingError as error:
        if isinstance(error.__cause__, UndefinedTable):
            return {}
        raise


def _delete(partition: Partition, organization_id: int, actor: str, now: datetime) -> Dropped:
    """Archive one organization's events in the rollups and delete them from a shared partition."""
    organization = Organization.objects.get(pk=organization_id)
    events = 0
    with owner_scope(), connection.cursor() as cursor:
        if _lock_partition(cursor, partition):
            events = archive(cursor, partition, organization, actor=actor, now=now)
            _delete_rows(cursor, partition, organization_id)
    return Dropped(partition.month, 1, events, 0)


def _delete_rows(cursor: Any, partition: Partition, organization_id: int) -> None:
    """Delete one organization's events from a partition. (Only the parent table refuses DELETE.)"""
    statement = sql.SQL("DELETE FROM {} WHERE organization_id = %s").format(sql.Identifier(partition.name))
    cursor.execute(statement, [organization_id])


def _drop(partition: Partition, actor: str, now: datetime) -> Dropped:
    """Archive all events of a partition and drop it."""
    with owner_scope(), connection.cursor() as cursor:
        if not _lock_partition(cursor, partition):
            return Dropped(partition.month, 0, 0, 0)
        organizations = Organization.objects.filter(pk__in=_counts(partition)).order_by("pk")
        events = [archive(cursor, partition, organization, actor=actor, now=now) for organization in organizations]
        _drop_with_retries(partition)
    return Dropped(partition.month, len(events), sum(events), partition.bytes)


def _lock_partition(cursor: Any, partition: Partition) -> bool:
    """Wait for writers and block further writes until the transaction ends. Return False if the partition is gone."""
    lock_months(cursor)
    if not exists(cursor, partition.name):
        return False
    cursor.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(partition.name)))
    return True


def _drop_with_retries(partition: Partition) -> None:
    """Drop the partition. Between attempts, queued transactions proceed."""
    for _ in range(_ATTEMPTS):
        try:
            drop(partition)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            sleep(_PAUSE_SECONDS)
        else:
            return
    raise ConflictError(f"{partition.name} is in use; nothing was dropped from it. Try again later.")


def _tidy_up() -> None:
    try:
        drop_empty_months()
    except OperationalError:
        # The next run retries.
        logger.info("empty months could not be dropped: the ledger is in use")
