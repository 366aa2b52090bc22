"""Verifying: every rollup beside the ledger, row by row, while everything goes on (`billing.rollups.compare`).

More is compared with each other: the totals of rollups that are made of the same events (archived rows count here), the
queue of events that wait for a price with how many the rollups say there are, and the counts that triggers keep.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db import connection, transaction
from psycopg import sql

from billing.models import RollupCheck
from billing.rollups.chunks import Chunk, whole
from billing.rollups.compare import WORK_MEMORY, differences
from billing.rollups.definitions import BY_NAME, ROLLUPS, USAGE_HOURS, Merge, Rollup
from billing.rollups.state import wrong_counts
from billing.rollups.types import Checked, Difference, Progress, Step, silent

logger = logging.getLogger(__name__)

TOTALS = "totals"
QUEUE = "unpriced_queue"
COUNTED = "counts"
LIMITS = "limits"
"""What `billing.limits.verify` keeps in the same place."""

_OTHERS = (TOTALS, QUEUE, COUNTED)
_MAX_SHOWN = 20

# One statement, so one moment.
_WAITING = sql.SQL("""
SELECT
    (SELECT count(*) FROM billing_unpricedevent WHERE organization_id = %(organization)s),
    (SELECT coalesce(sum(unpriced), 0) FROM {} WHERE organization_id = %(organization)s)
        - (SELECT coalesce(sum(unpriced), 0) FROM billing_droppedmonth WHERE organization_id = %(organization)s)
""").format(sql.Identifier(USAGE_HOURS.view))


def verify(
    *, organization_id: int, now: datetime, unless_since: datetime | None = None, progress: Progress = silent
) -> list[Checked]:
    """Compare all rollups of an organization with its ledger, and keep what came of it (`RollupCheck`).

    What was compared since `unless_since` is left out: so whoever was interrupted goes on. Events that are not folded
    yet are on neither side.
    """
    left_out = _checked_since(organization_id, unless_since) if unless_since else set()
    parts = whole(organization_id, [rollup for rollup in ROLLUPS if rollup.name not in left_out])
    done: list[Checked] = []
    number = 0
    for name, part in groupby(parts, key=lambda part: part[0].name):
        count, found = 0, list[Difference]()
        for rollup, chunk in part:
            more, first = _compare(rollup, organization_id, chunk)
            count, found = count + more, [*found, *first][:_MAX_SHOWN]
            number += 1
            progress(Step(organization_id, name, number, len(parts)))
        done.append(keep(organization_id, Checked(name, count, tuple(found)), now))
    done += [keep(organization_id, check(organization_id), now) for check in (_totals, _queue, _counts)]
    # Of rollups that there are no more.
    known = (*BY_NAME, *_OTHERS, LIMITS)
    RollupCheck.objects.filter(organization_id=organization_id).exclude(rollup__in=known).delete()
    return done


def _compare(rollup: Rollup, organization_id: int, chunk: Chunk) -> tuple[int, list[Difference]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WORK_MEMORY)
        return differences(cursor, rollup, organization_id, chunk, _MAX_SHOWN)


def _totals(organization_id: int) -> Checked:
    """Rollups that are made of the same events must have the same sums."""
    found: list[Difference] = []
    alike = sorted(ROLLUPS, key=_events_of)
    with connection.cursor() as cursor:
        for _, group in groupby(alike, key=_events_of):
            rollups = list(group)
            columns = _common_sums(rollups)
            cursor.execute(_sums(rollups, columns), {"organization": organization_id})
            sums = {name: dict(zip(columns, values, strict=True)) for name, values in cursor.fetchall()}
            first, *others = rollups
            found += filter(None, (_beside(sums, other.name, first.name) for other in others))
    return Checked(TOTALS, len(found), tuple(found))


def _events_of(rollup: Rollup) -> tuple[str, str]:
    return rollup.condition, rollup.joined


def _common_sums(rollups: Sequence[Rollup]) -> list[str]:
    sums = [{measure.column for measure in rollup.measures if measure.merge is Merge.SUM} for rollup in rollups]
    return sorted(set.intersection(*sums))


def _sums(rollups: Iterable[Rollup], columns: Iterable[str]) -> sql.Composed:
    texts = sql.SQL(", ").join(sql.SQL("coalesce(sum({}), 0)::text").format(sql.Identifier(name)) for name in columns)
    return sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, ARRAY[{}] FROM {} WHERE organization_id = %(organization)s").format(
            sql.Literal(rollup.name), texts, sql.Identifier(rollup.table)
        )
        for rollup in rollups
    )


def _beside(sums: dict[str, dict[str, str]], name: str, other: str) -> Difference | None:
    differing = [column for column, value in sums[name].items() if value != sums[other][column]]
    if not differing:
        return None
    return Difference(
        name,
        {"total": name, "beside": other},
        {column: sums[name][column] for column in differing},
        {column: sums[other][column] for column in differing},
    )


def _queue(organization_id: int) -> Checked:
    """As many events wait for a price as are counted without one, but for those that were dropped while they waited."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"organization": organization_id})
        queued, counted = cursor.fetchone()
    if queued == counted:
        return Checked(QUEUE, 0, ())
    waiting: dict[str, Any] = {"stored": {"events": str(queued)}, "told": {"events": str(counted)}}
    return Checked(QUEUE, 1, (Difference(QUEUE, {"queue": "events that wait for a price"}, **waiting),))


def _counts(organization_id: int) -> Checked:
    """There are as many sessions, executions and groups as the state of the rollups says."""
    with connection.cursor() as cursor:
        wrong = wrong_counts(cursor, organization_id)
    found = [
        Difference(COUNTED, {"count": name}, {"rows": str(kept)}, {"rows": str(counted)})
        for name, (kept, counted) in wrong.items()
    ]
    return Checked(COUNTED, len(found), tuple(found))


def _checked_since(organization_id: int, instant: datetime) -> set[str]:
    checks = RollupCheck.objects.filter(organization_id=organization_id, checked_at__gte=instant)
    return set(checks.values_list("rollup", flat=True))


def keep(organization_id: int, checked: Checked, now: datetime) -> Checked:
    """Remember what a comparison has found, in the place of the last one."""
    check = RollupCheck(
        organization_id=organization_id,
        rollup=checked.name,
        checked_at=now,
        differences=checked.count,
        first_difference=str(checked.differences[0]) if checked.differences else "",
    )
    RollupCheck.objects.bulk_create(
        [check],
        update_conflicts=True,
        unique_fields=["organization", "rollup"],
        update_fields=["checked_at", "differences", "first_difference"],
    )
    if checked.count:
        told = {"organization_id": organization_id, "rollup": checked.name, "rows": checked.count}
        logger.error("rollup differs from the ledger", extra={**told, "first": check.first_difference})
    return checked
