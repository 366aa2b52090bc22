"""The same calls at the prices of the catalog and of another price list: every difference, with its cause. Pure.

Each model that both price is priced for the same calls: 1,000 tokens in and 500 out, with 2,000 more from the cache,
above each size of the context at which a price changes, and with each option (service tier, speed, region) that the
list knows. `billing.pricing.known_differences` has the causes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from billing.pricing.canonical import CanonicalModel, canonical_model
from billing.pricing.kinds import Quantities
from billing.pricing.known_differences import cause_of
from billing.pricing.price_lists import ListedPrice
from billing.pricing.quote import CompiledPrices, Quote, calculate_quote, list_prices
from costtrack.money import plain

STANDARD = "standard"
CACHED = "cached"

_INPUT, _OUTPUT, _CACHED = 1_000, 500, 2_000


@dataclass(frozen=True, slots=True)
class SweptCall:
    """A call that is priced twice. `name` says what is special about it."""

    name: str
    quantities: Quantities
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A call with two costs. `here_usd` is None if the cost is unknown here, for the reason in `unit_prices`; else that
    names the unit prices that differ."""

    provider: str
    model: str
    call: str
    here_usd: Decimal | None
    listed_usd: Decimal
    unit_prices: str
    cause: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """The result: how many models and calls both price, and the calls whose costs differ."""

    listed: int
    models: int
    calls: int
    differences: tuple[Difference, ...]


def sweep(listed: Iterable[ListedPrice], *, at: datetime) -> Sweep:
    """Price the calls of every model of the list that the catalog prices too."""
    count = models = calls = 0
    differences: list[Difference] = []
    for entry in listed:
        count += 1
        model = canonical_model(entry.provider, entry.own_model, at.date())
        prices = list_prices(model, at.date()) if model is not None else None
        if model is None or prices is None or "input" not in entry.prices.rates.unit_prices:
            continue
        models += 1
        for call in calls_of(entry):
            calls += 1
            difference = _compare(entry, call, model, prices, at)
            if difference is not None:
                differences.append(difference)
    return Sweep(count, models, calls, tuple(differences))


def calls_of(entry: ListedPrice) -> Iterator[SweptCall]:
    """Yield the calls that the list's entry knows a price of."""
    rates = entry.prices.rates
    plain_call: dict[str, int] = {"input": _INPUT}
    if rates.unit_prices.get("output"):
        plain_call["output"] = _OUTPUT
    yield SweptCall(STANDARD, plain_call, {})
    if "cache_read" in rates.unit_prices:
        yield SweptCall(CACHED, {**plain_call, "cache_read": _CACHED}, {})
    for above, _ in rates.tiers:
        yield SweptCall(f"above {above:,} tokens", {**plain_call, "input": above + _INPUT}, {})
    for condition in entry.prices.conditions:
        for value in condition.values:
            attributes = {condition.attribute: value.replace("*", "eu")}
            yield SweptCall(f"{condition.attribute} {value}", plain_call, attributes)


def _compare(
    entry: ListedPrice, call: SweptCall, model: CanonicalModel, prices: CompiledPrices, at: datetime
) -> Difference | None:
    called = CanonicalModel(entry.provider, entry.provider, entry.own_model, entry.own_model)
    listed_prices = CompiledPrices(called, entry.prices)
    here = calculate_quote(call.quantities, model=model, attributes=call.attributes, at=at, prices=prices)
    there = calculate_quote(call.quantities, model=called, attributes=call.attributes, at=at, prices=listed_prices)
    if there.total_usd is None or here.total_usd == there.total_usd:
        return None
    unit_prices = _different_prices(here, there)
    cause = cause_of(entry, call.name, here, there)
    return Difference(entry.provider, entry.own_model, call.name, here.total_usd, there.total_usd, unit_prices, cause)


def _different_prices(here: Quote, there: Quote) -> str:
    if here.total_usd is None:
        return f"{here.reason}: {', '.join(here.unknown)}"
    listed = {line.kind: line.unit_price_usd for line in there.lines}
    return ", ".join(
        f"{line.kind} {plain(line.unit_price_usd)} / {plain(listed[line.kind]) if line.kind in listed else 'none'}"
        for line in here.lines
        if listed.get(line.kind) != line.unit_price_usd
    )
