"""Cost of model calls by workflow (document 000 calls it a simulation). Read-only.

The workflow of an event is that of its run.
"""

from collections.abc import Sequence

from billing.reports.rollup_query import RollupQuery, Sums, read_sums_with
from billing.reports.rollup_reader import RollupReader
from billing.rollups.definitions import WORKFLOW_DAYS
from costtrack.calendar import Window


def workflow_sums(*, reader: RollupReader, window: Window) -> Sequence[Sums]:
    """Return the sums of each workflow in a window, the most expensive first. `key` is the workflow."""
    (rows,) = read_sums_with(reader, RollupQuery.of(WORKFLOW_DAYS, ("workflow_id",), window, {"is_descendant": False}))
    return sorted((row for row in rows if row.requests or row.cost), key=lambda row: (-row.cost, row.key))
