"""Verification: compares every row of the rollups with the ledger, while intake continues (`billing.rollups.compare`).

It also compares the totals of rollups of the same events (including archived rows), the queue of unpriced events with
the unpriced counts of the rollups, the stored counts of sessions, executions and groups, and the sums of archived
events with those of the archived rows.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Sum
from psycopg import sql

from billing.models import DroppedMonth, EventArchive, RollupCheck
from billing.models.rollups import UsageHour
from billing.rollups.chunks import Chunk, chunks_of_all
from billing.rollups.compare import WORK_MEMORY, differences
from billing.rollups.definitions import BY_NAME, ROLLUPS, USAGE_HOURS, Merge, Rollup
from billing.rollups.state import wrong_counts
from billing.rollups.types import Checked, Difference, Progress, Step, ignore_progress
from costtrack.database.queries import fetch_rows
from costtrack.money import ZERO

logger = logging.getLogger(__name__)

TOTALS = "totals"
QUEUE = "unpriced_queue"
COUNTED = "counts"
ARCHIVES = "archives"
LIMITS = "limits"
"""The name of the checks of `billing.limits.verify`."""

_OTHERS = (TOTALS, QUEUE, COUNTED, ARCHIVES)
_MAX_SHOWN = 20
_IN_MANIFEST = ("events", "requests", "unpriced", "cost_usd")

# One statement, so both counts are of the same snapshot.
_UNPRICED_COUNTS = sql.SQL("""
SELECT
    (SELECT count(*) FROM billing_unpricedevent WHERE organization_id = %(organization)s),
    (SELECT coalesce(sum(unpriced), 0) FROM {} WHERE organization_id = %(organization)s)
        - (SELECT coalesce(sum(unpriced), 0) FROM billing_droppedmonth WHERE organization_id = %(organization)s)
""").format(sql.Identifier(USAGE_HOURS.view))


def verify(
    *, organization_id: int, now: datetime, unless_since: datetime | None = None, progress: Progress = ignore_progress
) -> list[Checked]:
    """Compare all rollups of an organization with its ledger, and store the results (`RollupCheck`).

    Rollups that were compared since `unless_since` are skipped, so an interrupted run continues. Unfolded events are
    excluded on both sides.
    """
    left_out = _checked_since(organization_id, unless_since) if unless_since else set()
    chunks = chunks_of_all(organization_id, [rollup for rollup in ROLLUPS if rollup.name not in left_out])
    done: list[Checked] = []
    number = 0
    for name, group in groupby(chunks, key=lambda item: item[0].name):
        count, differing = 0, list[Difference]()
        for rollup, chunk in group:
            more, first = _compare(rollup, organization_id, chunk)
            count, differing = count + more, [*differing, *first][:_MAX_SHOWN]
            number += 1
            progress(Step(organization_id, name, number, len(chunks)))
        done.append(save_check(organization_id, Checked(name, count, tuple(differing)), now))
    done += [
        save_check(organization_id, check(organization_id), now) for check in (_totals, _queue, _counts, _archives)
    ]
    # Checks of rollups that no longer exist.
    known = (*BY_NAME, *_OTHERS, LIMITS)
    RollupCheck.objects.filter(organization_id=organization_id).exclude(rollup__in=known).delete()
    return done


def _compare(rollup: Rollup, organization_id: int, chunk: Chunk) -> tuple[int, list[Difference]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WORK_MEMORY)
        return differences(cursor, rollup, organization_id, chunk, _MAX_SHOWN)


def _totals(organization_id: int) -> Checked:
    """Compare the sums of rollups of the same events."""
    differing: list[Difference] = []
    alike = sorted(ROLLUPS, key=_events_of)
    for _, group in groupby(alike, key=_events_of):
        rollups = list(group)
        columns = _common_sums(rollups)
        rows = fetch_rows(_sums(rollups, columns), {"organization": organization_id})
        sums = {name: dict(zip(columns, values, strict=True)) for name, values in rows}
        first, *others = rollups
        differing += filter(None, (_compare_sums(sums, other.name, first.name) for other in others))
    return Checked(TOTALS, len(differing), tuple(differing))


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


def _compare_sums(sums: dict[str, dict[str, str]], name: str, other: str) -> Difference | None:
    differing = [column for column, value in sums[name].items() if value != sums[other][column]]
    if not differing:
        return None
    return Difference(
        name,
        {"total": name, "compared_with": other},
        {column: sums[name][column] for column in differing},
        {column: sums[other][column] for column in differing},
    )


def _queue(organization_id: int) -> Checked:
    """Compare the queue with the unpriced counts, without events that were dropped while they were unpriced."""
    [(queued, counted)] = fetch_rows(_UNPRICED_COUNTS, {"organization": organization_id})
    if queued == counted:
        return Checked(QUEUE, 0, ())
    values: dict[str, Any] = {"stored": {"events": str(queued)}, "expected": {"events": str(counted)}}
    return Checked(QUEUE, 1, (Difference(QUEUE, {"queue": "unpriced events"}, **values),))


def _counts(organization_id: int) -> Checked:
    """Compare the stored counts of sessions, executions and groups with the rollups."""
    with connection.cursor() as cursor:
        wrong = wrong_counts(cursor, organization_id)
    differing = [
        Difference(COUNTED, {"count": name}, {"rows": str(stored)}, {"rows": str(counted)})
        for name, (stored, counted) in wrong.items()
    ]
    return Checked(COUNTED, len(differing), tuple(differing))


def _archives(organization_id: int) -> Checked:
    """Compare the manifest of archived events with the archived rows, if all events that were dropped are archived."""
    archives = EventArchive.objects.filter(organization_id=organization_id).complete()
    in_files = archives.aggregate(**{name: Sum(name, default=0) for name in _IN_MANIFEST})
    dropped = DroppedMonth.objects.filter(organization_id=organization_id).aggregate(events=Sum("events", default=0))
    rows = UsageHour.objects.filter(organization_id=organization_id, archived=True)
    sums = rows.aggregate(
        requests=Sum("requests", default=0),
        unpriced=Sum("unpriced", default=0),
        cost_usd=Sum(F("token_cost_usd") + F("compute_cost_usd"), default=ZERO),
    )
    expected = {"events": dropped["events"], **sums}
    if in_files["events"] < expected["events"]:
        return Checked(ARCHIVES, 0, ())  # the archived rows also have months that were dropped without an archive
    differing = [name for name in _IN_MANIFEST if in_files[name] != expected[name]]
    if not differing:
        return Checked(ARCHIVES, 0, ())
    stored: dict[str, str | None] = {name: str(expected[name]) for name in differing}
    archived: dict[str, str | None] = {name: str(in_files[name]) for name in differing}
    return Checked(ARCHIVES, 1, (Difference(ARCHIVES, {"sums": "archived events"}, stored, archived),))


def _checked_since(organization_id: int, instant: datetime) -> set[str]:
    checks = RollupCheck.objects.filter(organization_id=organization_id, checked_at__gte=instant)
    return set(checks.values_list("rollup", flat=True))


def save_check(organization_id: int, checked: Checked, now: datetime) -> Checked:
    """Store the result of a check, replacing the previous one."""
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
        expected = {"organization_id": organization_id, "rollup": checked.name, "rows": checked.count}
        logger.error("rollup differs from the ledger", extra={**expected, "first": check.first_difference})
    return checked
