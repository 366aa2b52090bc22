"""Shortcuts for prices in tests."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from billing.models import PriceVersion
from billing.pricing.conditions import Rates
from billing.pricing.services import create_price
from organizations.models import Organization

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
APRIL = datetime(2026, 4, 1, tzinfo=UTC)

MILLION = {"input": 1_000_000}


def price(organization: Organization | None, model: str, usd: str | int, **fields: Any) -> PriceVersion:
    """A price of `usd` for a million input tokens, from January on."""
    options: dict[str, Any] = {"effective_from": JANUARY, **fields}
    rates = Rates({"input": Decimal(usd)})
    return create_price(organization=organization, model=model, rates=rates, actor="tests", **options)
