"""Prices of the catalog by kind, and their form as JSON."""

import json
from datetime import date
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot

from billing.pricing.canonical import CanonicalModel
from billing.pricing.kind_prices import catalog_prices
from billing.pricing.kind_prices_json import kind_prices_as_json, kind_prices_from_json
from billing.pricing.quote import list_kind_prices

DAY = date(2026, 11, 28)


def test_every_price_survives_as_json() -> None:
    changed = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            canonical = CanonicalModel(provider.id, provider.id, model.id, model.id.lower())
            prices = list_kind_prices(canonical, DAY)
            if prices is None:
                continue
            text = json.dumps(kind_prices_as_json(prices))
            if kind_prices_from_json(json.loads(text)) != prices:
                changed.append(canonical)
    assert changed == []


def test_a_dated_price_begins_on_its_day() -> None:
    def unit_price(day: date) -> Decimal:
        prices = catalog_prices("openai", "gpt-5.6-sol", day)
        assert prices is not None
        return prices.rates.unit_prices["input"]

    assert (unit_price(date(2026, 8, 20)), unit_price(date(2026, 8, 21))) == (5, 4)


def test_prices_per_thousand_are_prices_per_request() -> None:
    prices = catalog_prices("perplexity", "sonar", DAY)

    assert prices is not None
    assert prices.rates.unit_prices["request"] == Decimal("0.012")


def test_a_model_without_any_price_has_none() -> None:
    assert catalog_prices("google", "gemma-3", DAY) is None
    assert catalog_prices("google", "no such model", DAY) is None
    assert catalog_prices("no-provider", "gemma-3", DAY) is None
