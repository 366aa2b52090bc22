"""Conversion of the genai-prices catalogue to timelines of unit prices. Pure.

A price version cannot express everything that is in the catalogue:

* prices of kinds that events do not have (images, seconds of audio, searches) are omitted;
* prices for certain hours of the day are omitted, and the model is listed in `time_of_day`;
* prices of request options (batch, priority, fast) are omitted; the standard price is used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ClauseEquals,
    ClauseOr,
    ConditionalPrice,
    MatchLogic,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from billing.pricing.types import PriceKind, Tier, UnitPrices
from costtrack.calendar import utc_midnight
from costtrack.clock import EPOCH

# The start of prices without a start date.
BEGINNING = EPOCH

_KINDS = {
    "input_mtok": PriceKind.INPUT,
    "output_mtok": PriceKind.OUTPUT,
    "cache_read_mtok": PriceKind.CACHE_READ,
    "cache_write_mtok": PriceKind.CACHE_CREATION,
    "cache_write_1h_mtok": PriceKind.CACHE_CREATION_1H,
    "output_reasoning_mtok": PriceKind.REASONING,
    "input_audio_mtok": PriceKind.AUDIO_INPUT,
    "output_audio_mtok": PriceKind.AUDIO_OUTPUT,
    "requests_kcount": PriceKind.REQUEST,
}
_REQUESTS_PER_UNIT = 1000
# The precision of a unit price. Some numbers of the catalogue are floats (0.08333333333333334).
_DECIMALS = 12
_MAX_ALIAS_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Segment:
    """The prices of a model from a time until the next segment; None if the catalogue has no price."""

    effective_from: datetime
    prices: UnitPrices | None


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model of a provider. The first segment begins at `BEGINNING`, the others at dates of the catalogue."""

    provider: str
    model: str
    aliases: tuple[str, ...]
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models that can be imported, and those (`provider/model`) that cannot, or only partly."""

    entries: tuple[CatalogueEntry, ...]
    skipped: tuple[str, ...]
    time_of_day: tuple[str, ...]


def read_catalogue() -> Catalogue:
    """Read the catalogue of the installed genai-prices package."""
    entries: list[CatalogueEntry] = []
    skipped: list[str] = []
    time_of_day: list[str] = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            entry = _entry(provider, model)
            label = f"{provider.id}/{model.id}"
            if all(segment.prices is None for segment in entry.segments):
                skipped.append(label)
                continue
            entries.append(entry)
            if any(isinstance(price.constraint, TimeOfDateConstraint) for price in _conditional(model)):
                time_of_day.append(label)
    return Catalogue(tuple(entries), tuple(skipped), tuple(time_of_day))


def _entry(provider: Provider, model: ModelInfo) -> CatalogueEntry:
    aliases = {
        name: None
        for name in _equal_names(model.match)
        if name.lower() != model.id.lower() and "*" not in name and len(name) <= _MAX_ALIAS_LENGTH
    }
    return CatalogueEntry(provider.id, model.id, tuple(aliases), tuple(_segments(_conditional(model))))


def _conditional(model: ModelInfo) -> list[ConditionalPrice]:
    if isinstance(model.prices, ModelPrice):
        return [ConditionalPrice(prices=model.prices)]
    return model.prices


def _segments(prices: list[ConditionalPrice]) -> Iterator[Segment]:
    """Yield the prices, one segment for each date on which they change."""
    starts = {price.constraint.start_date for price in prices if isinstance(price.constraint, StartDateConstraint)}
    before: UnitPrices | None = None
    for position, day in enumerate([None, *sorted(starts)]):
        unit_prices = _unit_prices(_standard(prices, day))
        if position == 0 or unit_prices != before:
            yield Segment(BEGINNING if day is None else utc_midnight(day), unit_prices)
        before = unit_prices


def _standard(prices: list[ConditionalPrice], day: date | None) -> ModelPrice:
    """Return the last price whose condition holds on the day at any hour, as genai-prices does; else the first."""
    for price in reversed(prices):
        match price.constraint:
            case None:
                return price.prices
            case StartDateConstraint(start_date=start) if day is not None and day >= start:
                return price.prices
    return prices[0].prices


def _unit_prices(price: ModelPrice) -> UnitPrices | None:
    priced = {
        kind: value for key, kind in _KINDS.items() if isinstance(value := getattr(price, key), Decimal | TieredPrices)
    }
    if not priced:
        return None
    thresholds = sorted(
        {tier.start for value in priced.values() if isinstance(value, TieredPrices) for tier in value.tiers}
    )
    base = {kind: _amount(kind, _at(value, 0)) for kind, value in priced.items()}
    tiers = tuple(
        Tier(
            threshold,
            {
                kind: _amount(kind, _at(value, threshold + 1))
                for kind, value in priced.items()
                if isinstance(value, TieredPrices)
            },
        )
        for threshold in thresholds
    )
    return UnitPrices(base, tiers)


def _at(value: Decimal | TieredPrices, prompt_tokens: int) -> Decimal:
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if prompt_tokens > tier.start]
    return reached[-1] if reached else value.base


def _amount(kind: PriceKind, value: Decimal) -> Decimal:
    amount = value / _REQUESTS_PER_UNIT if kind is PriceKind.REQUEST else value
    rounded = round(amount, _DECIMALS)
    return amount if rounded == amount else rounded


def _equal_names(clause: MatchLogic) -> Iterator[str]:
    """Yield the exact names that match a model. `normalize` handles all other clauses."""
    if isinstance(clause, ClauseEquals):
        yield clause.equals
    elif isinstance(clause, ClauseOr):
        for inner in clause.or_:
            yield from _equal_names(inner)
