"""Parameters for the reads: runs, events, days and so on, sampled evenly from all twelve months of the ledger."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from costtrack.clock import iso, utc_now

Sample = dict[str, str]
"""The values by their names in an endpoint's URL."""
Get = Callable[[str], Any]
"""Returns the JSON of a path."""

MAX_ITEMS = 40

_BATCHES = "SELECT id, accepted FROM billing_ingestbatch WHERE organization_id = %s ORDER BY id"
# Events that were sent instead of filled in have no execution.
_EVENTS = """
SELECT id, run_id, session_id, execution_id, workflow_id, model, occurred_at FROM billing_usageevent
WHERE organization_id = %s AND id = ANY (%s) AND execution_id <> '' ORDER BY id
"""
_SENT = "SELECT event_id FROM billing_usageevent WHERE organization_id = %s ORDER BY id DESC LIMIT %s"


def samples(database_url: str, organization_id: int, get: Get) -> list[Sample]:
    """Return the samples: enough that responses vary, and few enough that the second round finds the caches as warm as
    users would."""
    with psycopg.connect(database_url, row_factory=dict_row) as connection:
        batches = connection.execute(_BATCHES, [organization_id]).fetchall()
        batches = batches[:: max(len(batches) // MAX_ITEMS, 1)][:MAX_ITEMS]
        # The first run of a batch is the root of a chain; a run inside the batch can be any run.
        roots = [UUID(int=batch["id"].int + 1) for batch in batches]
        events = [UUID(int=batch["id"].int + 1 + index * 17 % batch["accepted"]) for index, batch in enumerate(batches)]
        parents = [row["run_id"] for row in connection.execute(_EVENTS, [organization_id, roots]).fetchall()]
        rows = connection.execute(_EVENTS, [organization_id, events]).fetchall()
        # The newest events were really sent, so their keys are digests of the sender's ids.
        sent = [row["event_id"] for row in connection.execute(_SENT, [organization_id, len(rows)]).fetchall()]
    return [
        {
            "event": str(event["id"]),
            "run": event["run_id"],
            "parent": parent,
            "session": event["session_id"],
            "execution": event["execution_id"],
            "workflow": event["workflow_id"],
            "model": event["model"],
            "sent": sent_id,
            **_times(event["occurred_at"]),
            "cursor": _cursor(get, event["occurred_at"]),
        }
        for event, parent, sent_id in zip(rows, parents, sent, strict=True)
    ]


def _times(instant: datetime) -> Sample:
    now = utc_now()
    return {
        "instant": iso(instant),
        "week_before": iso(instant - timedelta(days=7)),
        "day": f"{instant:%Y-%m-%d}",
        "today": f"{now:%Y-%m-%d}",
        "month_ago": f"{now - timedelta(days=30):%Y-%m-%d}",
    }


def _cursor(get: Get, instant: datetime) -> str:
    """Return the server's cursor of the page after that time; empty if there is none."""
    return get(f"/usage/events?limit=1&end_date={iso(instant)}")["next_cursor"] or ""
