"""Conversion between rows of `PriceVersion` and `billing.pricing.types`."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeAlias

from billing.models import PriceVersion
from billing.pricing.types import PriceKind, Tier, UnitPrices
from costtrack.money import plain

TierJSON: TypeAlias = dict[str, int | str]

UNIT_PRICE_COLUMNS = tuple(kind.column for kind in PriceKind)


def unit_prices_of(version: PriceVersion) -> UnitPrices:
    """Return the unit prices and tiers of a row."""
    return UnitPrices(
        {kind: price for kind in PriceKind if (price := getattr(version, kind.column)) is not None},
        tuple(
            Tier(
                tier["above_input_tokens"],
                {kind: Decimal(tier[kind.column]) for kind in PriceKind if kind.column in tier},
            )
            for tier in version.tiers
        ),
    )


def price_columns(prices: UnitPrices) -> dict[str, Decimal | list[TierJSON] | None]:
    """Return the values of a row's price columns, including `tiers`."""
    unit_prices = {kind.column: prices.unit_prices.get(kind) for kind in PriceKind}
    return {**unit_prices, "tiers": tiers_as_json(prices.tiers)}


def tiers_as_json(tiers: Sequence[Tier]) -> list[TierJSON]:
    """Return tiers in the format of `PriceVersion.tiers` and the API."""
    return [
        {
            "above_input_tokens": tier.above_input_tokens,
            **{kind.column: plain(price) for kind, price in tier.unit_prices.items()},
        }
        for tier in tiers
    ]
