"""Rebuilding: rollups are made what the ledger says, part by part, while everything goes on.

Each part is one transaction that has the organization's rollups alone: folds leave the organization out meanwhile, and
reads stay exact, because what is not folded is read from the ledger. Only rows that differ are written.
"""

import logging
from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction

from billing.rollups.chunks import Chunk, whole, within
from billing.rollups.compare import WORK_MEMORY, make_right
from billing.rollups.definitions import ROLLUPS, Rollup
from billing.rollups.locks import has_rollups_alone
from billing.rollups.state import has_changed, recount, wrong_counts
from billing.rollups.types import Progress, Step, silent

logger = logging.getLogger(__name__)


def rebuild(
    *,
    organization_id: int,
    rollups: Sequence[Rollup] = ROLLUPS,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Progress = silent,
) -> dict[str, int]:
    """Answers how many rows of each rollup were corrected: changed, added or removed.

    With `start` or `end`: the buckets of the days that these instants lie in and of those between, and of rollups
    without a bucket whatever has events in them. Archived rows stay as they are. Safe to repeat after an interruption.
    """
    is_part = start is not None or end is not None
    parts = within(organization_id, rollups, start, end) if is_part else whole(organization_id, rollups)
    corrected = dict.fromkeys((rollup.name for rollup in rollups), 0)
    for number, (rollup, chunk) in enumerate(parts, 1):
        corrected[rollup.name] += _rebuild(rollup, organization_id, chunk)
        progress(Step(organization_id, rollup.name, number, len(parts)))
    _make_counts_right(organization_id)
    wrong = {name: rows for name, rows in corrected.items() if rows}
    if wrong:
        logger.warning("rollups corrected", extra={"organization_id": organization_id, "rows": wrong})
    return corrected


def _rebuild(rollup: Rollup, organization_id: int, chunk: Chunk) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(WORK_MEMORY)
        has_rollups_alone(cursor, organization_id)
        has_changed(cursor, organization_id)
        return make_right(cursor, rollup, organization_id, chunk)


def _make_counts_right(organization_id: int) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        has_rollups_alone(cursor, organization_id)
        if wrong := wrong_counts(cursor, organization_id):
            logger.warning("counts corrected", extra={"organization_id": organization_id, "counts": wrong})
            recount(cursor, organization_id)
