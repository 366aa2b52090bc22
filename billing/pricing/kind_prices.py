"""Prices of the genai-prices catalog for every kind of usage, with their conditions. Pure, and cached.

`billing.pricing.catalog` converts the same data to price versions of text tokens and audio only. This conversion has
all of `billing.pricing.kinds`, request options (batch, priority, fast) and hours of the day.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from billing.pricing.conditions import Condition, Hours, Rates
from billing.pricing.kinds import KINDS, Kind

SOURCE = "genai-prices"
# What genai-prices calls an option, and the attribute it is here.
_ATTRIBUTES = {"processing": "service_tier"}
# Its names of service tiers that have another one here.
_VALUES = {("service_tier", "fast"): "priority"}
# Numbers of the catalog are floats in places (0.08333333333333334).
_DECIMALS = 12


@dataclass(frozen=True, slots=True)
class KindPrices:
    """The unit prices of a model by kind, and the conditions that change them."""

    rates: Rates
    conditions: tuple[Condition, ...] = ()
    source: str = SOURCE


@lru_cache(maxsize=4096)
def catalog_prices(provider: str, model: str, day: date) -> KindPrices | None:
    """Return the prices of the catalog's model on a day (UTC); None if it has none."""
    info = _model(provider, model)
    if info is None:
        return None
    standard = _standard(info, day)
    rates = _rates(standard)
    if not rates.unit_prices:
        return None
    return KindPrices(rates, (*_hours(info, day), *_variants(info.price_variants or ())))


def _model(provider: str, model: str) -> ModelInfo | None:
    for candidate in get_snapshot().providers:
        if candidate.id == provider:
            return next((info for info in candidate.models if info.id == model), None)
    return None


def _conditional(info: ModelInfo) -> list[ConditionalPrice]:
    return [ConditionalPrice(prices=info.prices)] if isinstance(info.prices, ModelPrice) else info.prices


def _standard(info: ModelInfo, day: date) -> ModelPrice:
    """Return the last price that is in effect on the day at any hour, as genai-prices does; else the first."""
    prices = _conditional(info)
    for price in reversed(prices):
        match price.constraint:
            case None:
                return price.prices
            case StartDateConstraint(start_date=start) if day >= start:
                return price.prices
    return prices[0].prices


def _hours(info: ModelInfo, day: date) -> Iterator[Condition]:
    """Yield the prices of certain hours. They begin with the dated price that they follow in the catalog."""
    starts: date | None = None
    found: list[Condition] = []
    for price in _conditional(info):
        match price.constraint:
            case StartDateConstraint(start_date=start):
                starts = start
            case TimeOfDateConstraint(start_time=start_time, end_time=end_time):
                hours = Hours(start_time.replace(tzinfo=None), end_time.replace(tzinfo=None))
                value = f"{hours.start:%H:%M}-{hours.end:%H:%M}"
                condition = Condition(
                    "hours", (value,), rates=_rates(price.prices), hours=hours, starts=starts, source=SOURCE
                )
                found.append(condition)
    # genai-prices takes the last one that applies.
    yield from (condition for condition in reversed(found) if condition.starts is None or day >= condition.starts)


def _variants(variants: Iterable[PriceVariant]) -> Iterator[Condition]:
    for variant in variants:
        # No variant of the catalog names more than one option.
        ((option, value),) = variant.when.items()
        attribute = _ATTRIBUTES.get(option, option)
        rates = _rates(variant.prices)
        if rates.unit_prices:
            starts = variant.constraint.start_date if isinstance(variant.constraint, StartDateConstraint) else None
            value = _VALUES.get((attribute, value), value)
            yield Condition(attribute, (value,), rates=rates, starts=starts, source=SOURCE)


def _rates(prices: ModelPrice) -> Rates:
    priced: dict[Kind, Decimal | TieredPrices] = {
        kind: value
        for kind in KINDS.values()
        if kind.catalog_key and isinstance(value := getattr(prices, kind.catalog_key), Decimal | TieredPrices)
    }
    thresholds = sorted(
        {tier.start for value in priced.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    )
    return Rates(
        {kind.id: _unit_price(kind, _at(value, 0)) for kind, value in priced.items()},
        tuple(
            (
                threshold,
                {
                    kind.id: _unit_price(kind, _at(value, threshold + 1))
                    for kind, value in priced.items()
                    if isinstance(value, TieredPrices)
                },
            )
            for threshold in thresholds
        ),
    )


def _at(value: Decimal | TieredPrices, prompt_tokens: int) -> Decimal:
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
    return reached[-1] if reached else value.base


def _unit_price(kind: Kind, value: Decimal) -> Decimal:
    price = value * kind.per / kind.catalog_per
    rounded = round(price, _DECIMALS)
    return price if rounded == price else rounded
