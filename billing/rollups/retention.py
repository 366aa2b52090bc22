"""Retention: old events are dropped by the month of their receipt, and every total stays as it was
(docs/decisions/008-retention.md).

What the events add up to moves to the rollups' archived rows (`billing.rollups.archive`) and their table is dropped, in
one transaction. Reports add archived rows to the others, so no sum changes. The keys of the events stay: sent again, a
dropped event is a duplicate.
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
from billing.rollups.archive import archive
from billing.rollups.types import Dropped
from costtrack.errors import ConflictError, InvalidError
from costtrack.tenancy import owner_scope
from organizations.models import Organization

logger = logging.getLogger(__name__)

# Any number: it keeps two processes from dropping at once.
_LOCK = 7_301_117
# So many organizations are archived in one transaction. In months that are shared by more, the events of the smallest
# ones are deleted before, organization by organization.
_MAX_TOGETHER = 200
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.5
_SYSTEM = "system"

_COUNTS = sql.SQL("SELECT organization_id, count(*) FROM {} WHERE {} GROUP BY 1 ORDER BY 2 DESC, 1")
_OF_ONE = sql.SQL("organization_id = {}")

Report = Callable[[Dropped], None]


def drop_events(
    *, before: datetime, organization: Organization | None = None, actor: str, now: datetime, report: Report
) -> None:
    """Drop what was received before a month's first instant, of one organization or of everyone. Each table is told of
    when it is done; whoever is interrupted goes on by doing it again.

    Raises InvalidError for `before`, ConflictError when a table stays in use for too long.
    """
    for partition in _due(before, organization, now):
        if organization is None:
            for holder in list(_counts(partition))[_MAX_TOGETHER:]:
                report(_delete(partition, holder, actor, now))
            report(_drop(partition, actor, now))
        elif partition.organization_id == organization.pk:
            report(_drop(partition, actor, now))
        elif _counts(partition, organization):
            report(_delete(partition, organization.pk, actor, now))
    _tidy_up()


def would_drop(*, before: datetime, organization: Organization | None = None, now: datetime) -> list[Dropped]:
    """What `drop_events` would tell now. Raises InvalidError."""
    found = []
    for partition in _due(before, organization, now):
        counts = _counts(partition, organization)
        is_whole = organization is None or partition.organization_id == organization.pk
        if counts or is_whole:
            size = partition.bytes if is_whole else 0
            found.append(Dropped(partition.month, len(counts), sum(counts.values()), size))
    return found


def retain(*, months: int, now: datetime, report: Report) -> None:
    """Keep the events of this month and of so many months before it (0: of all), and fewer of the organizations that
    have a smaller number of their own."""
    if months:
        drop_events(before=months_before(now, months), actor=_SYSTEM, now=now, report=report)
    for organization in Organization.objects.filter(retention_months__gt=0).order_by("pk"):
        if not months or organization.retention_months < months:
            before = months_before(now, organization.retention_months)
            drop_events(before=before, organization=organization, actor=_SYSTEM, now=now, report=report)


def months_before(now: datetime, months: int) -> datetime:
    month = month_of(now)
    index = month.year * 12 + month.month - 1 - months
    return month.replace(year=index // 12, month=index % 12 + 1)


def _due(before: datetime, organization: Organization | None, now: datetime) -> list[Partition]:
    if before != month_of(before):
        raise InvalidError("before: the first instant of a month (UTC).", param="before")
    if before > month_of(now):
        raise InvalidError("before: at most the month that runs now.", param="before")
    due = [partition for partition in partitions() if next_month(partition.month) <= before]
    if organization is not None:
        due = [partition for partition in due if partition.organization_id in (None, organization.pk)]
    return due


def _counts(partition: Partition, organization: Organization | None = None) -> dict[int, int]:
    """How many events each organization, or this one, has in it, the most first. Empty also when somebody else has just
    dropped it."""
    wanted = sql.SQL("true") if organization is None else _OF_ONE.format(organization.pk)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_COUNTS.format(sql.Identifier(partition.name), wanted))
            return dict(cursor.fetchall())
    except ProgrammingError as error:
        if isinstance(error.__cause__, UndefinedTable):
            return {}
        raise


def _delete(partition: Partition, organization_id: int, actor: str, now: datetime) -> Dropped:
    """Take one organization's events out of a shared table. The ledger refuses to delete; its partitions do not."""
    organization = Organization.objects.get(pk=organization_id)
    events = 0
    with owner_scope(), connection.cursor() as cursor:
        if _reserved(cursor, partition):
            events = archive(cursor, partition, organization, actor=actor, now=now)
            statement = sql.SQL("DELETE FROM {} WHERE organization_id = %s").format(sql.Identifier(partition.name))
            cursor.execute(statement, [organization_id])
    return Dropped(partition.month, 1, events, 0)


def _drop(partition: Partition, actor: str, now: datetime) -> Dropped:
    """Drop a table with all that is in it."""
    with owner_scope(), connection.cursor() as cursor:
        if not _reserved(cursor, partition):
            return Dropped(partition.month, 0, 0, 0)
        holders = Organization.objects.filter(pk__in=_counts(partition)).order_by("pk")
        events = [archive(cursor, partition, holder, actor=actor, now=now) for holder in holders]
        _drop_patiently(partition)
    return Dropped(partition.month, len(events), sum(events), partition.bytes)


def _reserved(cursor: Any, partition: Partition) -> bool:
    """Keep others from writing to the table until the transaction ends; False: it is gone already. Whoever was writing
    to it is waited for."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    if not exists(cursor, partition.name):
        return False
    cursor.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(sql.Identifier(partition.name)))
    return True


def _drop_patiently(partition: Partition) -> None:
    """Between attempts, those who wait behind us get their turn."""
    for _ in range(_ATTEMPTS):
        try:
            drop(partition)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            sleep(_PAUSE_SECONDS)
        else:
            return
    raise ConflictError(f"{partition.name} is in use all the time; nothing was dropped from it. Try again later.")


def _tidy_up() -> None:
    try:
        drop_empty_months()
    except OperationalError:
        # Empty months do no harm; the next run tries again.
        logger.info("empty months could not be removed: the ledger is in use")
