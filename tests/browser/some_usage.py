"""A little of everything that an organization can have, so that no page is empty."""

import json
from datetime import datetime, timedelta
from decimal import Decimal

from billing.ingest.quarantine import ingest_or_quarantine
from billing.limits.increases import request_increase
from billing.models import ThresholdEvent
from billing.notifications.webhooks import create_webhook, send_test
from billing.types import LimitWindow
from costtrack.clock import utc_now
from organizations.models import Organization
from organizations.principals import Principal
from tests.billing.ingest.litellm_payloads import payload
from tests.limits import set_limit, take
from tests.usage import send_events, set_price


def record_some(organization: Organization, other_organization: Organization) -> None:
    """Write a little of everything for Acme, and something of Globex that Acme must not see."""
    now = utc_now()
    set_price("gpt-5", provider="openai", input="1.25", output="10")
    call = {"service": "openai", "model": "gpt-5", "input_tokens": 1200, "output_tokens": 34, "capability": "chat"}
    send_events(
        organization,
        {
            **call,
            "id": "call-1",
            "run_id": "nightly",
            "workflow_id": "report",
            "tags": ["a", "b"],
            "metadata": {"k": 1},
        },
        {**call, "id": "call-2", "run_id": "nightly/part", "parent_run_id": "nightly", "cost_usd": "0.5"},
        {"id": "failed-1", "status": "failure", "status_code": 429, "service": "openai", "model": "gpt-5"},
        {"id": "tool-1", "kind": "tool_call", "tool": "search", "compute_cost_usd": "0.002"},
        {"id": "house-1", "service": "in-house", "model": "house-13b", "input_tokens": 1_000_000},
        now=now,
    )
    send_events(
        other_organization, {**call, "id": "globex-call", "run_id": "globex-run", "model": "globex-model"}, now=now
    )
    early = payload(startTime=(now + timedelta(hours=2)).timestamp(), endTime=None, id="early-1")
    bad = payload(response_cost=1e13, id="bad-1")
    for owner, records in (
        (organization, [early, bad]),
        (other_organization, [payload(response_cost=1e13, id="globex-bad")]),
    ):
        raw = [json.dumps(record).encode() for record in records]
        ingest_or_quarantine(organization=owner, credential=None, format="litellm", records=raw, now=now)
        _add_limit(owner, now)


def _add_limit(organization: Organization, now: datetime) -> None:
    """100 USD in any seven days, with something on every page that has to do with limits."""
    limit = set_limit(organization, "100", window=LimitWindow.ROLLING_7D)
    take(organization, "0.5", now=now, model="gpt-5")
    ThresholdEvent.objects.create(
        organization=organization,
        limit=limit,
        threshold=80,
        window_key="before",
        amount_usd=Decimal(100),
        spent_usd=Decimal(81),
        reached_at=now - timedelta(days=8),
        resolved_at=now - timedelta(days=3),
    )
    request_increase(
        organization=organization,
        limit=limit,
        value="",
        amount_usd=Decimal(200),
        reason=f"A busy week at {organization.name}",
        until=None,
        actor=Principal(),
        now=now,
    )
    webhook = create_webhook(
        organization=organization,
        url=f"https://hooks.{organization.slug}.example/limits",
        description=f"On call at {organization.name}",
        actor="tests",
        now=now,
    ).webhook
    send_test(organization=organization, webhook=webhook, actor="tests", now=now)
