"""Usage from single events, for dimensions that no rollup has: workflow, session, run, tool and tag. Read-only.

Reading is bounded: a window with more than `MAX_EVENTS` events is refused, unless only one run or session is read, for
which the ledger has an index.
"""

from collections.abc import Sequence

from psycopg import sql

from billing.reports.rollup_query import ledger_rows
from billing.reports.rollup_reader import RollupReader
from billing.reports.usage.figures import ONLY_IN_LEDGER, UsageFilter
from billing.rollups.definitions import COSTS, CREDENTIAL
from costtrack.calendar import Window
from costtrack.database.queries import fetch_rows
from costtrack.errors import InvalidError
from costtrack.ids import first_id_of
from organizations.models import Organization

MAX_EVENTS = 500_000

_DIMENSIONS = (
    *(
        "capability",
        "provider",
        "service",
        "model",
        "agent_id",
        "environment",
        "user_ref",
        "team",
        "end_user",
        "status",
    ),
    *("workflow_id", "session_id", "run_id", "tool", "tags"),
)
EXPRESSIONS = {
    CREDENTIAL.column: CREDENTIAL.expression,
    **{column: f"event.{column}" for column in _DIMENSIONS},
    **{measure.column: measure.expression for measure in COSTS},
}
# An index-only scan, which takes a fraction of the time of reading the events.
_COUNT = sql.SQL("""
SELECT count(*) FROM (
    SELECT FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS span (starts, ends)
    CROSS JOIN LATERAL (
        SELECT FROM billing_usageevent AS event
        WHERE organization_id = %(organization)s AND id >= %(first_id)s
            AND occurred_at >= span.starts AND occurred_at < span.ends
    ) AS event
    LIMIT %(limit)s
) AS counted
""")


def is_only_in_ledger(columns: set[str]) -> bool:
    return bool(columns & ONLY_IN_LEDGER)


def check_event_count(organization: Organization, filters: UsageFilter, windows: Sequence[Window]) -> None:
    """Raise InvalidError if the ordered windows have more than `MAX_EVENTS` events to read."""
    if filters.run_id or filters.session_id or not windows:
        return
    if count_events(organization, windows, MAX_EVENTS + 1) > MAX_EVENTS:
        raise InvalidError(
            f"This period has more than {MAX_EVENTS:,} events, which is too many to read one by one. Choose a shorter "
            "period, or do not filter or group by workflow, session, run, tool or tag.",
            param="end_date",
        )


def count_events(organization: Organization, windows: Sequence[Window], limit: int) -> int:
    """Return the number of events in ordered windows, up to a limit."""
    parameters = {
        "organization": organization.pk,
        "starts": [window.start for window in windows],
        "ends": [window.end for window in windows],
        "first_id": first_id_of(windows[0].start),
        "limit": limit,
    }
    [(count,)] = fetch_rows(_COUNT, parameters)
    return int(count)


def event_rows(
    reader: RollupReader, filters: UsageFilter, windows: Sequence[Window], columns: Sequence[str]
) -> sql.Composed:
    """Build a SELECT of `at` and the columns of each event that matches."""
    return ledger_rows(reader, windows, columns, EXPRESSIONS, filters.condition(reader.parameters))
