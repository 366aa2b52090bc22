"""Rebuild of rollups from the ledger, chunk by chunk, while intake continues.

Each chunk is one transaction that locks the organization's rollups. Folds skip the organization in the meantime, and
reads stay exact, because they add unfolded events. Only rows that differ are written.
"""

import logging
from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction

from billing.rollups.chunks import Chunk, chunks_of_all, chunks_within
from billing.rollups.compare import WORK_MEMORY, write_differences
from billing.rollups.definitions import ROLLUPS, Rollup
from billing.rollups.locks import lock_rollups
from billing.rollups.state import bump_ledger_version, recount, wrong_counts
from billing.rollups.types import Progress, Step, ignore_progress

logger = logging.getLogger(__name__)


def rebuild(
    *,
    organization_id: int,
    rollups: Sequence[Rollup] = ROLLUPS,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Progress = ignore_progress,
) -> dict[str, int]:
    """Rebuild rollups; return the number of rows of each that were changed, added or removed.

    With `start` or `end`, only the buckets of these days and the days between are rebuilt, and in rollups without a
    bucket the keys with events on these days. Archived rows do not change. Safe to repeat after an interruption.
    """
    is_partial = start is not None or end is not None
    chunks = (
        chunks_within(organization_id, rollups, start, end) if is_partial else chunks_of_all(organization_id, rollups)
    )
    corrected = dict.fromkeys((rollup.name for rollup in rollups), 0)
    for number, (rollup, chunk) in enumerate(chunks, 1):
        corrected[rollup.name] += _rebuild(rollup, organization_id, chunk)
        progress(Step(organization_id, rollup.name, number, len(chunks)))
    _correct_counts(organization_id)
    wrong = {name: rows for name, rows in corrected.items() if rows}
    if wrong:
        logger.warning("rollups corrected", extra={"organization_id": organization_id, "rows": wrong})
    return corrected


def _rebuild(rollup: Rollup, organization_id: int, chunk: Chunk) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WORK_MEMORY)
        lock_rollups(cursor, organization_id)
        corrected, changes = write_differences(cursor, rollup, organization_id, chunk)
        bump_ledger_version(cursor, organization_id, changes)
    return corrected


def _correct_counts(organization_id: int) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        lock_rollups(cursor, organization_id)
        if wrong := wrong_counts(cursor, organization_id):
            logger.warning("counts corrected", extra={"organization_id": organization_id, "counts": wrong})
            recount(cursor, organization_id)
