"""The content of a price's page."""

from dataclasses import dataclass
from decimal import Decimal

from billing.admin.components import formatting
from billing.admin.components.formatting import Detail
from billing.models import PriceVersion
from billing.pricing.price_fields import unit_prices_of
from billing.pricing.types import PriceKind


@dataclass(frozen=True, slots=True)
class Level:
    """The unit prices for prompts above a size."""

    title: str
    unit_prices: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PricePage:
    details: list[Detail]
    levels: tuple[Level, ...]


def price_page(price: PriceVersion) -> PricePage:
    prices = unit_prices_of(price)
    tiers = (
        Level(f"Prompts of more than {formatting.count(tier.above_input_tokens)} tokens", _written(tier.unit_prices))
        for tier in prices.tiers
    )
    return PricePage(
        formatting.without_empty(_details(price)), (Level("Unit prices", _written(prices.unit_prices)), *tiers)
    )


def _details(price: PriceVersion) -> list[tuple[str, str]]:
    return [
        ("Model", price.model),
        ("Provider", price.provider or "Any"),
        ("Other names", ", ".join(price.aliases)),
        ("Applies to", price.organization.name if price.organization is not None else "Everyone"),
        ("Since (UTC)", formatting.price_since(price) or "Always"),
        ("Until (UTC)", formatting.price_until(price) or "No end"),
        ("Set by", price.get_source_display()),
    ]


def _written(unit_prices: dict[PriceKind, Decimal]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (formatting.KIND_LABELS[kind], formatting.unit_price(kind, unit_prices[kind]))
        for kind in PriceKind
        if kind in unit_prices
    )
