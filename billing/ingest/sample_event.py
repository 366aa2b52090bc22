"""The test event of Getting started, which shows that the ledger works before a program sends anything.

It is a call of a tool that costs nothing: it changes no spend, no limit and no number of model calls, and like every
event it can be voided.
"""

from datetime import datetime
from uuid import uuid4

import msgspec

from billing.ingest import json_events
from billing.ingest.services import ingest
from billing.types import SAMPLE_TOOL
from organizations.models import Organization


def send_sample_event(*, organization: Organization, now: datetime) -> None:
    """Record a test event through the intake of `POST /usage/events`."""
    event = {
        "id": f"test-{uuid4()}",
        "kind": "tool_call",
        "tool": SAMPLE_TOOL,
        "service": "costtrack",
        "compute_cost_usd": "0",
        "occurred_at": now.isoformat(),
    }
    parsed = json_events.parse(msgspec.json.encode([event]), content_type="", max_events=1, now=now)
    ingest(organization=organization, credential=None, format="json", parsed=parsed, now=now)
