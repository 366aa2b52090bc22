"""Creates and updates the rows of runs that events name."""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from billing.ledger.types import LedgerEntry

# Runs are locked in the order of their ids, so batches that name the same runs cannot deadlock. A run that does not
# change is not touched.
_UPSERT = """
INSERT INTO billing_run AS run (organization_id, run_id, parent_run_id, workflow_id, created_at)
SELECT %(organization)s, named.run_id, named.parent_run_id, named.workflow_id, %(now)s
FROM unnest(%(runs)s::text[], %(parents)s::text[], %(workflows)s::text[])
    AS named (run_id, parent_run_id, workflow_id)
WHERE NOT EXISTS (
    SELECT FROM billing_run AS known
    WHERE known.organization_id = %(organization)s AND known.run_id = named.run_id
        AND named.parent_run_id IN ('', known.parent_run_id) AND named.workflow_id IN ('', known.workflow_id)
)
ORDER BY named.run_id
ON CONFLICT (organization_id, run_id) DO UPDATE SET
    parent_run_id = CASE WHEN excluded.parent_run_id = '' THEN run.parent_run_id ELSE excluded.parent_run_id END,
    workflow_id = CASE WHEN excluded.workflow_id = '' THEN run.workflow_id ELSE excluded.workflow_id END
"""


def upsert_runs(organization_id: int, entries: Sequence[LedgerEntry], now: datetime) -> None:
    """Create the runs and parents that the entries name, and update the parent and workflow to the last value named.

    Empty values change nothing. Adjustments are skipped, because they repeat the values of their event.
    """
    runs: dict[str, tuple[str, str]] = {}
    for entry in entries:
        if not entry.run_id or entry.adjusts is not None:
            continue
        parent, workflow = runs.get(entry.run_id, ("", ""))
        runs[entry.run_id] = (entry.parent_run_id or parent, entry.workflow_id or workflow)
        if entry.parent_run_id:
            runs.setdefault(entry.parent_run_id, ("", ""))
    if not runs:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            _UPSERT,
            {
                "organization": organization_id,
                "now": now,
                "runs": list(runs),
                "parents": [parent for parent, _ in runs.values()],
                "workflows": [workflow for _, workflow in runs.values()],
            },
        )
