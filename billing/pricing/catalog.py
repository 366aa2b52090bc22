"""The catalog as timelines of prices: that of the genai-prices package, and the declared prices of models that it
lacks. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ClauseEquals, ClauseOr, MatchLogic, ModelInfo, ModelPrice, Provider, StartDateConstraint

from billing.pricing.conditions import Rates
from billing.pricing.declared_prices import SUPPLEMENTS
from billing.pricing.kind_prices import KindPrices, catalog_prices
from costtrack.calendar import utc_midnight
from costtrack.clock import EPOCH

# The start of prices without a start date.
BEGINNING = EPOCH

_MAX_ALIAS_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Segment:
    """The prices of a model from a time until the next segment; None if the catalog has no price."""

    effective_from: datetime
    prices: KindPrices | None


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A model of a provider. The first segment begins at `BEGINNING`, the others at dates of the catalog."""

    provider: str
    model: str
    aliases: tuple[str, ...]
    segments: tuple[Segment, ...]

    @property
    def is_priced(self) -> bool:
        return any(segment.prices is not None for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The models that can be imported, and those (`provider/model`) without a price."""

    entries: tuple[CatalogEntry, ...]
    skipped: tuple[str, ...]


def read_catalog() -> Catalog:
    """Read the catalog of the installed genai-prices package and the declared models."""
    entries = [_entry(provider, model) for provider in get_snapshot().providers for model in provider.models]
    priced = [entry for entry in entries if entry.is_priced]
    known = {(entry.provider, entry.model) for entry in priced}
    declared = [entry for entry in _declared_entries() if (entry.provider, entry.model) not in known]
    skipped = tuple(f"{entry.provider}/{entry.model}" for entry in entries if not entry.is_priced)
    return Catalog((*priced, *declared), skipped)


def _declared_entries() -> Iterator[CatalogEntry]:
    """Yield the models that the catalog lacks. Their names may be patterns."""
    for supplement in SUPPLEMENTS:
        if "input" not in supplement.unit_prices:
            continue
        prices = KindPrices(Rates(supplement.unit_prices))
        starts = BEGINNING if supplement.starts is None else utc_midnight(supplement.starts)
        for model in supplement.models:
            yield CatalogEntry(supplement.platform, model, (), (Segment(starts, prices),))


def _entry(provider: Provider, model: ModelInfo) -> CatalogEntry:
    aliases = {
        name: None
        for name in _equal_names(model.match)
        if name.lower() != model.id.lower() and "*" not in name and len(name) <= _MAX_ALIAS_LENGTH
    }
    return CatalogEntry(provider.id, model.id, tuple(aliases), tuple(_segments(provider, model)))


def _segments(provider: Provider, model: ModelInfo) -> Iterator[Segment]:
    """Yield the prices, one segment for each date on which they change."""
    conditional = [] if isinstance(model.prices, ModelPrice) else model.prices
    days = {price.constraint.start_date for price in conditional if isinstance(price.constraint, StartDateConstraint)}
    before: KindPrices | None = None
    for position, day in enumerate([BEGINNING.date(), *sorted(days)]):
        prices = catalog_prices(provider.id, model.id, day)
        if position == 0 or prices != before:
            yield Segment(utc_midnight(day), prices)
        before = prices


def _equal_names(clause: MatchLogic) -> Iterator[str]:
    """Yield the exact names that match a model. `normalize` handles all other clauses."""
    if isinstance(clause, ClauseEquals):
        yield clause.equals
    elif isinstance(clause, ClauseOr):
        for inner in clause.or_:
            yield from _equal_names(inner)
