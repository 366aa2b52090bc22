"""The first calls of a model without a known cost, or with a flag, found when their batches are folded.

The row is written in the fold's transaction, so each is found exactly once and intake does nothing for it.
"""

from typing import Any

from psycopg import sql

from billing.rollups.sql import OF_BATCHES
from billing.types import FLAGS_BESIDE_USAGE, EventKind

# Parameters: those of OF_BATCHES. Most events have neither and are skipped by the first condition.
_RECORD = sql.SQL("""
INSERT INTO billing_usageissue (organization_id, code, service, model, detail, event_id, occurred_at)
SELECT DISTINCT ON (issue.code, event.service, event.model)
    %(organization)s, issue.code, event.service, event.model, coalesce(issue.detail, ''), event.id, event.occurred_at
FROM {events}
CROSS JOIN LATERAL (
    SELECT event.unpriced_reason, '' WHERE event.unpriced > 0 AND event.unpriced_reason <> ''
    UNION ALL
    SELECT flag ->> 'code', flag ->> 'detail'
    FROM jsonb_array_elements(CASE WHEN jsonb_typeof(event.flags) = 'array' THEN event.flags END) AS flag
) AS issue (code, detail)
WHERE (event.unpriced > 0 OR event.flags IS NOT NULL) AND event.kind = {call} AND issue.code <> ALL ({others})
ORDER BY issue.code, event.service, event.model, event.id
ON CONFLICT DO NOTHING
""").format(
    events=OF_BATCHES, call=sql.Literal(EventKind.MODEL_CALL.value), others=sql.Literal(list(FLAGS_BESIDE_USAGE))
)


def record_usage_issues(cursor: Any, parameters: dict[str, Any]) -> None:
    """Record what is found for the first time in the batches of a fold, which holds the lock on the rollups."""
    cursor.execute(_RECORD, parameters)
