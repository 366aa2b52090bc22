"""Usage objects as providers, gateways, frameworks and agents send them, with their right cost.

`fixtures/usage_shapes.json` has for each: the service and model of the call, the `usage` (or `counts` by the ledger's
names), what stands beside it in the `response`, and `cost_usd`; null where nobody can know it. `arithmetic` is how the
cost comes about, in millionths of a dollar.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from billing.ingest.usage.types import StatedCosts, UsageReading
from billing.ingest.usage.usage_reader import read_usage
from billing.pricing.canonical import canonical_model
from billing.pricing.cost_choice import CostChoice, choose_cost
from billing.pricing.kinds import COLUMNS, from_columns
from billing.pricing.quote import Quote, quote_calls
from billing.types import Exactness, UnpricedReason

# Off-peak at DeepSeek, and after every dated price of the catalog that a case is about.
OCCURRED_AT = datetime(2026, 11, 28, 12, tzinfo=UTC)

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "fixtures" / "usage_shapes.json").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Outcome:
    """What a case costs here. `is_silent`: nothing says that the amount may be wrong."""

    reading: UsageReading
    quote: Quote
    choice: CostChoice

    @property
    def is_silent(self) -> bool:
        return self.choice.exactness in (Exactness.REPORTED, Exactness.COMPUTED) and not self.reading.flags


def right_cost(case: Mapping[str, Any]) -> Decimal | None:
    return None if case["cost_usd"] is None else Decimal(case["cost_usd"])


def price(case: Mapping[str, Any]) -> Outcome:
    if "counts" in case:
        columns = dict.fromkeys(COLUMNS, 0) | case["counts"]
        reading = UsageReading(calls=(from_columns(columns, {}),))
    else:
        reading = read_usage(
            case.get("usage"), service=case["service"], model=case["model"], beside=case.get("response")
        )
    quote = quote_of(case, reading)
    costs: StatedCosts = reading.costs
    choice = choose_cost(
        quote,
        provider_usd=costs.provider_usd,
        sender_usd=costs.sender_usd,
        gateway_usd=costs.gateway_usd,
        is_flagged=bool(reading.flags),
    )
    return Outcome(reading, quote, choice)


def quote_of(case: Mapping[str, Any], reading: UsageReading) -> Quote:
    at = datetime.fromisoformat(case["occurred_at"]) if "occurred_at" in case else OCCURRED_AT
    model = canonical_model(case["service"], case["model"], at.date())
    if reading.reason is not None:
        return Quote(model, reason=UnpricedReason.UNREADABLE_USAGE)
    if model is None:
        return Quote(reason=UnpricedReason.NO_PRICE)
    attributes = dict(reading.attributes)
    if "service_tier" in case:
        attributes["service_tier"] = case["service_tier"]
    return quote_calls(reading.calls, model=model, attributes=attributes, at=at)
