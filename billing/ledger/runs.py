"""The run tree, as the events tell it."""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from billing.ledger.types import LedgerEntry

# Runs are locked in the order of their ids, so that batches which name the same runs cannot deadlock; a run that is
# known as it is told is not touched at all.
_UPSERT = """
INSERT INTO billing_run AS run (organization_id, run_id, parent_run_id, workflow_id, created_at)
SELECT %(organization)s, told.run_id, told.parent_run_id, told.workflow_id, %(now)s
FROM unnest(%(runs)s::text[], %(parents)s::text[], %(workflows)s::text[])
    AS told (run_id, parent_run_id, workflow_id)
LEFT JOIN billing_run AS known ON known.organization_id = %(organization)s AND known.run_id = told.run_id
WHERE known.id IS NULL
    OR (told.parent_run_id <> '' AND told.parent_run_id <> known.parent_run_id)
    OR (told.workflow_id <> '' AND told.workflow_id <> known.workflow_id)
ORDER BY told.run_id
ON CONFLICT (organization_id, run_id) DO UPDATE SET
    parent_run_id = CASE WHEN excluded.parent_run_id = '' THEN run.parent_run_id ELSE excluded.parent_run_id END,
    workflow_id = CASE WHEN excluded.workflow_id = '' THEN run.workflow_id ELSE excluded.workflow_id END
"""


def upsert_runs(organization_id: int, entries: Sequence[LedgerEntry], now: datetime) -> None:
    """Make the runs (and the parents) that the entries name known. What is told last about a run's parent or
    workflow holds; nothing told changes nothing, and an adjustment repeats what its event has told."""
    told: dict[str, tuple[str, str]] = {}
    for entry in entries:
        if not entry.run_id or entry.adjusts is not None:
            continue
        parent, workflow = told.get(entry.run_id, ("", ""))
        told[entry.run_id] = (entry.parent_run_id or parent, entry.workflow_id or workflow)
        if entry.parent_run_id:
            told.setdefault(entry.parent_run_id, ("", ""))
    if not told:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            _UPSERT,
            {
                "organization": organization_id,
                "now": now,
                "runs": list(told),
                "parents": [parent for parent, _ in told.values()],
                "workflows": [workflow for _, workflow in told.values()],
            },
        )
