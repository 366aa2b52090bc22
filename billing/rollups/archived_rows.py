"""Archival of an organization's events of one month in the rollups, without changing any total.

The sums of the events are added to the archived rows. The other rows of the same keys are computed again from the
remaining events: sums, first and last times, and texts.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F
from psycopg import sql

from billing.ledger.locks import lock_all_corrections
from billing.ledger.partitions import Partition, next_month
from billing.models import DroppedMonth, UnpricedEvent
from billing.rollups.chunks import Chunk, in_span, of_keys_among
from billing.rollups.compare import WORK_MEMORY, write_differences
from billing.rollups.definitions import ROLLUPS, Rollup
from billing.rollups.locks import lock_rollups
from billing.rollups.sql import aggregate_query, archive_statement
from billing.rollups.state import bump_ledger_version, named_changes
from costtrack.calendar import last_boundary
from costtrack.clock import DAY
from costtrack.ids import ids_at
from organizations import audit
from organizations.models import Organization

_OF_ORGANIZATION = sql.SQL("event.organization_id = %(organization)s")
_REMAINING = sql.SQL("(event.id < %(first_dropped)s OR event.id >= %(first_after)s)")
_SPAN = sql.SQL("SELECT count(*), min(occurred_at), max(occurred_at) FROM {} AS event WHERE {}")


@dataclass(frozen=True, slots=True)
class _Rows:
    """An organization's events of one month; `days` is the span of days in which they occurred."""

    partition: Partition
    organization_id: int
    events: int
    days: tuple[datetime, datetime]

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.partition.name)

    @property
    def parameters(self) -> dict[str, Any]:
        month = self.partition.month
        return {
            "organization": self.organization_id,
            "first_dropped": ids_at(month)[0],
            "first_after": ids_at(next_month(month))[0],
        }


def archive(cursor: Any, partition: Partition, organization: Organization, *, actor: str, now: datetime) -> int:
    """Archive an organization's events of a partition and return their number. The caller locks the partition against
    writes, and removes the events in the same transaction.

    Unfolded events are archived with the others. Unpriced events leave the queue; archived rows still count them as
    unpriced.
    """
    cursor.execute(WORK_MEMORY)
    lock_all_corrections(organization.pk)
    lock_rollups(cursor, organization.pk)
    rows = _find(cursor, partition, organization.pk)
    if rows is None:
        return 0
    changes: Counter[str] = Counter()
    for rollup in ROLLUPS:
        archived = aggregate_query(rollup, sql.SQL("{} AS event").format(rows.table), _OF_ORGANIZATION, archived=True)
        cursor.execute(archive_statement(rollup, archived), rows.parameters)
        changes.update(named_changes([rollup], cursor.fetchone()))
    for rollup in ROLLUPS:
        _, changed = write_differences(cursor, rollup, organization.pk, _touched(rollup, rows), _REMAINING)
        changes.update(changed)
    bump_ledger_version(cursor, organization.pk, changes)
    _record(rows, organization, actor, now)
    return rows.events


def _find(cursor: Any, partition: Partition, organization_id: int) -> _Rows | None:
    query = _SPAN.format(sql.Identifier(partition.name), _OF_ORGANIZATION)
    cursor.execute(query, {"organization": organization_id})
    events, first_at, last_at = cursor.fetchone()
    if not events:
        return None
    days = (last_boundary(first_at, DAY), last_boundary(last_at, DAY) + DAY)
    return _Rows(partition, organization_id, events, days)


def _touched(rollup: Rollup, rows: _Rows) -> Chunk:
    """Return the chunk of the rollup with the keys of these events."""
    if rollup.bucket:
        start, end = rows.days
        chunk = in_span(rollup, start, end)
    else:
        chunk = of_keys_among(rollup, rows.table, parameters={})
    return Chunk(chunk.events, chunk.rows, {**chunk.parameters, **rows.parameters})


def _record(rows: _Rows, organization: Organization, actor: str, now: datetime) -> None:
    month = rows.partition.month.date()
    bounds = {"event_id__gte": rows.parameters["first_dropped"], "event_id__lt": rows.parameters["first_after"]}
    unpriced, _ = UnpricedEvent.objects.of(organization).filter(**bounds).delete()
    DroppedMonth.objects.get_or_create(
        organization=organization, month=month, defaults={"events": 0, "unpriced": 0, "dropped_at": now}
    )
    DroppedMonth.objects.of(organization).filter(month=month).update(
        events=F("events") + rows.events, unpriced=F("unpriced") + unpriced, dropped_at=now
    )
    audit.record(
        organization=organization, actor=actor, action="events.dropped", subject=f"{month:%Y-%m}", events=rows.events
    )
