"""Shortcuts that put usage into the ledger the way callers do."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from secrets import randbits
from typing import Any

import msgspec
import pytest
from django.db.models import QuerySet
from rest_framework.test import APIClient

from billing.ingest import json_events
from billing.ingest.services import IngestResult, ingest
from billing.models import PriceBookRevision, PriceVersion, UsageEvent
from billing.models.ledger import known_cost
from organizations.models import APICredential, Organization
from tests import database

NOW = database.NOW

Send = Callable[..., IngestResult]


@pytest.fixture
def send(organization: Organization) -> Send:
    """Ingest events for Acme or the named organization."""

    def _send(*events: dict[str, Any], to: Organization = organization, now: datetime = NOW) -> IngestResult:
        return send_events(to, *events, now=now)

    return _send


def send_events(
    organization: Organization, *events: dict[str, Any], now: datetime = NOW, credential: APICredential | None = None
) -> IngestResult:
    """Ingest events for an organization, in one batch."""
    parsed = json_events.parse(msgspec.json.encode(events), content_type="", max_events=10_000, now=now)
    return ingest(organization=organization, credential=credential, format="json", parsed=parsed, now=now)


def total_cost(events: QuerySet[UsageEvent]) -> Decimal:
    """Sum the known costs of rows of the ledger."""
    return sum((known_cost(event.token_cost_usd, event.compute_cost_usd) for event in events), Decimal(0))


def set_price(
    model: str, *, provider: str = "", organization: Organization | None = None, **unit_prices: str
) -> PriceVersion:
    """A price for good, in US dollars per million tokens (`input="3"`) or per request (`request="0.01"`)."""
    columns = {"request": "request_usd"}
    price = PriceVersion.objects.create(
        organization=organization,
        provider=provider,
        model=model,
        effective_from=datetime(2020, 1, 1, tzinfo=UTC),
        **{columns.get(kind, f"{kind}_usd_per_million"): Decimal(value) for kind, value in unit_prices.items()},
    )
    PriceBookRevision.objects.update_or_create(organization=organization, defaults={"revision": randbits(63)})
    return price


def post_raw(api: APIClient, body: bytes, content_type: str = "application/json", encoding: str = "") -> Any:
    """`POST /usage/events` with exactly these bytes."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    return api.post("/usage/events", data=body, content_type=content_type, headers=headers)
