"""The cost of a call from its quantities, unit prices, conditions and the organization's agreement. Pure.

Every quantity is in exactly one line. Amounts are exact; only where a unit price is not a finite decimal per unit
(seconds at a price per hour) they are rounded to the 24 decimals of the ledger.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

from billing.pricing.agreements import Agreement, agreement_for
from billing.pricing.canonical import CanonicalModel
from billing.pricing.conditions import (
    AppliedCondition,
    Attributes,
    Condition,
    ConditionedPrices,
    Rates,
    apply_conditions,
    normalized_attributes,
    times,
)
from billing.pricing.declared_prices import (
    CONDITIONS,
    LONG_CONTEXTS,
    MINIMUM_QUANTITIES,
    NOT_USED,
    SUBSTITUTES,
    SUPPLEMENTS,
)
from billing.pricing.kind_prices import KindPrices, catalog_prices
from billing.pricing.kinds import KINDS, Direction, Quantities, Quantity, Unit, prompt_tokens
from billing.types import UnpricedReason
from costtrack.money import DECIMALS, ZERO, to_storable

_MAX_LIKES = 4
_MAX_COMBINATIONS = 1000
_POSITIONS = {kind: position for position, kind in enumerate(KINDS)}
_CombinationKey: TypeAlias = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """quantity x unit price = amount, with the unit price in USD per `KINDS[kind].per` units.

    `priced_as` names the kind whose price was taken if the kind has none of its own. `list_*` are without the
    organization's agreement.
    """

    kind: str
    quantity: Quantity
    unit_price_usd: Decimal
    amount_usd: Decimal
    list_unit_price_usd: Decimal
    list_amount_usd: Decimal
    priced_as: str = ""
    is_estimate: bool = False


@dataclass(frozen=True, slots=True)
class Quote:
    """The lines of a call and their exact sums, or the reason why the cost is unknown.

    `unknown` has the kinds without a unit price (`no_unit_price`) or the attributes without a price
    (`no_condition_price`).
    """

    model: CanonicalModel | None = None
    lines: tuple[QuoteLine, ...] = ()
    total_usd: Decimal | None = None
    list_total_usd: Decimal | None = None
    conditions: tuple[AppliedCondition, ...] = ()
    reason: UnpricedReason | None = None
    unknown: tuple[str, ...] = ()
    tier_above: int | None = None
    is_estimate: bool = False
    price_version_id: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What the cost of a model call depends on.

    `requests` has the quantities of each request, one or several. `has_usage` is false if the usage is not known, which
    is not the same as no usage. An aggregate has the quantities of `sum_of` requests together, 0 if their number is
    unknown.
    """

    service: str
    model: str
    occurred_at: datetime
    requests: tuple[Quantities, ...] = ({},)
    attributes: Mapping[str, str] = field(default_factory=dict)
    has_usage: bool = True
    sum_of: int = 1


@dataclass(frozen=True, slots=True)
class _Price:
    """A unit price, and whose it is if the kind has none of its own. `rate` is the price of one unit in 10^-24 USD, the
    ledger's smallest amount; None if that is not a whole number."""

    unit_price: Decimal
    priced_as: str = ""
    is_estimate: bool = False
    rate: int | None = None


class CompiledPrices:
    """The list prices of a model, prepared for many calls. Conditions are resolved once for each combination."""

    def __init__(self, model: CanonicalModel, prices: KindPrices, price_version_id: int | None = None) -> None:
        self.model = model
        self.price_version_id = price_version_id
        self.options = _options(model, {})
        """The conditions of calls that say none: the region in the model's name."""
        self._name = model.model.lower()
        self._prices = prices
        self._hours = tuple(condition.hours for condition in prices.conditions if condition.hours is not None)
        self._tiered = tuple(
            condition.rates for condition in prices.conditions if condition.rates is not None and condition.rates.tiers
        )
        self._resolved: dict[_CombinationKey, _Pricing] = {}
        # Without options and hours only the tier makes a difference.
        self._standard: dict[int | None, _Pricing] = {}

    def options_of(self, attributes: Mapping[str, str]) -> Attributes:
        """Return the conditions of a call in one spelling."""
        return _options(self.model, attributes)

    @property
    def unit_prices(self) -> Mapping[str, Decimal]:
        """The list's unit prices by kind, without tiers and conditions."""
        return self._prices.rates.unit_prices

    @property
    def charges_requests(self) -> bool:
        """Whether a request has a charge besides its usage."""
        return any(KINDS[kind].unit is Unit.REQUESTS for kind in self.unit_prices)

    def plain_cost(self, quantities: Quantities, options: Attributes, at: datetime) -> Decimal | None:
        """Return the cost of one request if every kind has an exact price of its own, in a few microseconds.

        None means only that it takes `calculate_cost` to know. `options` are normalized attributes.
        """
        pricing = self.resolve(options, at, quantities)
        total = pricing.request_rate
        if total is None:
            return None
        rates = pricing.plain_rates
        for kind, quantity in quantities.items():
            rate = rates.get(kind)
            if rate is None:
                rate = pricing.plain_rate(kind)
            if rate is None or type(quantity) is not int:
                return None
            total += rate * quantity
        return Decimal(total).scaleb(-DECIMALS)

    def text_cost(self, uncached: int, cached: int, output: int, at: datetime) -> Decimal | None:
        """Return `plain_cost` of a call of text without options, faster. The intake prices most events so."""
        if self.options or self._hours:
            return None
        tiers = self._prices.rates.tiers
        tier = self._prices.rates.tier_at(uncached + cached) if tiers else None
        pricing = self._standard.get(tier)
        if pricing is None:
            pricing = self.resolve(self.options, at, {"input": uncached + cached})
        rates = pricing.text_rates
        if rates is None:
            return None
        return Decimal(rates[0] + rates[1] * uncached + rates[2] * cached + rates[3] * output).scaleb(-DECIMALS)

    def resolve(self, options: Attributes, at: datetime, quantities: Quantities) -> "_Pricing":
        """Return the unit prices of a call with these options, time and quantities."""
        rates = self._prices.rates
        tier = rates.tier_at(prompt_tokens(quantities)) if rates.tiers else None
        if not options and not self._hours:
            pricing = self._standard.get(tier)
            if pricing is None:
                pricing = self._standard[tier] = self._resolve(options, at, prompt_tokens(quantities))
            return pricing
        size = prompt_tokens(quantities)
        key = (
            at.astimezone(UTC).date(),
            tuple(hours.includes(at) for hours in self._hours),
            tier,
            # The tiers of the conditions' own prices may differ from the standard ones.
            tuple(tiered.tier_at(size) for tiered in self._tiered),
            frozenset(options.items()),
        )
        pricing = self._resolved.get(key)
        if pricing is None:
            if len(self._resolved) >= _MAX_COMBINATIONS:
                self._resolved.clear()
            pricing = self._resolved[key] = self._resolve(options, at, size)
        return pricing

    def _resolve(self, options: Attributes, at: datetime, size: int) -> "_Pricing":
        rates = self._prices.rates
        conditioned = apply_conditions(
            rates,
            self._prices.conditions,
            platform=self.model.platform,
            model=self._name,
            attributes=options,
            at=at,
            prompt_tokens=size,
        )
        return _Pricing(
            self.model,
            conditioned,
            standard=rates.unit_prices,
            tier_above=rates.tier_at(size),
            search_context=options.get("search_context", "low"),
        )


def calculate_quote(
    quantities: Quantities,
    *,
    model: CanonicalModel,
    attributes: Mapping[str, str | None],
    at: datetime,
    prices: CompiledPrices | None = None,
    agreements: Iterable[Agreement] = (),
    requests: int = 1,
    request_size: Quantities | None = None,
) -> Quote:
    """Return the lines and the cost of a call.

    `prices` are those of the catalog and the declared ones unless given. `request_size` decides on the tier instead
    of the quantities, if these are those of several requests.
    """
    size = quantities if request_size is None else request_size
    pricing, counted, unknown = _price(quantities, size, model, attributes, at, prices, requests)
    if pricing is None or unknown is not None:
        return unknown or Quote(model, reason=UnpricedReason.NO_PRICE)
    agreement = agreement_for(agreements, model.platform, model.model, at)
    lines = tuple(pricing.line(kind, quantity, agreement) for kind, quantity in sorted(counted, key=_by_kind))
    return Quote(
        model,
        lines,
        sum((line.amount_usd for line in lines), ZERO),
        sum((line.list_amount_usd for line in lines), ZERO),
        pricing.applied,
        tier_above=pricing.tier_above,
        is_estimate=any(line.is_estimate for line in lines),
    )


def calculate_cost(
    quantities: Quantities,
    *,
    model: CanonicalModel,
    attributes: Mapping[str, str | None],
    at: datetime,
    prices: CompiledPrices | None = None,
    requests: int = 1,
) -> Quote:
    """Return the quote of `calculate_quote` without its lines, and several times faster. For organizations without an
    agreement."""
    pricing, counted, unknown = _price(quantities, quantities, model, attributes, at, prices, requests)
    if pricing is None or unknown is not None:
        return unknown or Quote(model, reason=UnpricedReason.NO_PRICE)
    total, is_estimate = pricing.total(counted)
    return Quote(model, (), total, total, pricing.applied, tier_above=pricing.tier_above, is_estimate=is_estimate)


def _price(
    quantities: Quantities,
    request_size: Quantities,
    model: CanonicalModel,
    attributes: Mapping[str, str | None],
    at: datetime,
    prices: CompiledPrices | None,
    requests: int,
) -> tuple["_Pricing | None", list[tuple[str, Quantity]], Quote | None]:
    """Return the unit prices of a call and what is charged; a quote if the cost is unknown."""
    prices = prices if prices is not None else list_prices(model, at.astimezone(UTC).date())
    if prices is None:
        return None, [], None
    options = _options(model, attributes)
    pricing = prices.resolve(options, at, request_size)
    if pricing.unknown:
        return pricing, [], Quote(model, reason=UnpricedReason.NO_CONDITION_PRICE, unknown=pricing.unknown)
    counted = [(kind, quantity) for kind, quantity in quantities.items() if quantity]
    if requests and pricing.request_kind and pricing.request_kind not in quantities:
        counted.append((pricing.request_kind, requests))
    missing = [kind for kind, quantity in counted if not pricing.has_price(kind, quantity)]
    if missing:
        return pricing, [], Quote(model, reason=UnpricedReason.NO_UNIT_PRICE, unknown=tuple(missing))
    return pricing, counted, None


def quote_calls(
    calls: Iterable[Quantities],
    *,
    model: CanonicalModel,
    attributes: Mapping[str, str | None],
    at: datetime,
    prices: CompiledPrices | None = None,
    agreements: Iterable[Agreement] = (),
    sum_of: int = 1,
) -> Quote:
    """Return the cost of an event of several requests, each at the price for its own size; a fee per request once.

    With another `sum_of` (`Call`), the only element is an aggregate: requests of average size, with a fee for each.
    """
    terms = tuple(agreements)
    if sum_of != 1:
        quantities = next(iter(calls), {})
        return calculate_quote(
            quantities,
            model=model,
            attributes=attributes,
            at=at,
            prices=prices,
            agreements=terms,
            requests=max(sum_of, 1),
            request_size={kind: int(quantity // sum_of) for kind, quantity in quantities.items()} if sum_of else {},
        )
    quotes = [
        calculate_quote(
            call,
            model=model,
            attributes=attributes,
            at=at,
            prices=prices,
            agreements=terms,
            requests=1 if position == 0 else 0,
        )
        for position, call in enumerate(calls)
    ]
    if len(quotes) == 1:
        return quotes[0]
    unknown = next((quote for quote in quotes if quote.total_usd is None), None)
    if unknown is not None or not quotes:
        return unknown or Quote(model, reason=UnpricedReason.NO_USAGE)
    return replace(
        quotes[0],
        lines=tuple(line for quote in quotes for line in quote.lines),
        is_estimate=any(quote.is_estimate for quote in quotes),
        total_usd=sum((quote.total_usd or ZERO for quote in quotes), ZERO),
        list_total_usd=sum((quote.list_total_usd or ZERO for quote in quotes), ZERO),
    )


@lru_cache(maxsize=4096)
def list_prices(model: CanonicalModel, day: date) -> CompiledPrices | None:
    """Return the list prices of a model on a day, prepared for many calls."""
    prices = list_kind_prices(model, day)
    return CompiledPrices(model, prices) if prices is not None else None


def list_kind_prices(model: CanonicalModel, day: date) -> KindPrices | None:
    """Return the list prices of a model: the catalog's, with the declared supplements and conditions."""
    prices = with_declared(catalog_prices(model.provider, model.model, day) or KindPrices(Rates()), model, day)
    return prices if prices.rates.unit_prices else None


def with_declared(prices: KindPrices, model: CanonicalModel, day: date) -> KindPrices:
    """Return the catalog's prices of a model with what the catalog lacks on that day."""
    withheld = {
        kind for owner, name, kinds in NOT_USED if (owner, name) == (model.provider, model.model) for kind in kinds
    }
    unit_prices = {kind: price for kind, price in prices.rates.unit_prices.items() if kind not in withheld}
    for entry in SUPPLEMENTS:
        if _is_for(entry.platform, entry.models, model) and (entry.starts is None or day >= entry.starts):
            unit_prices.update(entry.unit_prices)
    # A platform's options are its own: those of the vendor hold only at the vendor.
    published = prices.conditions if model.platform == model.provider else ()
    return replace(
        prices,
        rates=Rates(unit_prices, prices.rates.tiers or tuple(_long_contexts(unit_prices, model))),
        conditions=(*published, *declared_conditions(model)),
    )


def _long_contexts(
    unit_prices: Mapping[str, Decimal], model: CanonicalModel
) -> Iterator[tuple[int, dict[str, Decimal]]]:
    """Yield the declared tiers of a model that has none in the catalog."""
    for entry in LONG_CONTEXTS:
        if _is_for(entry.platform, entry.models, model):
            factors = {Direction.INPUT: entry.input_factor, Direction.OUTPUT: entry.output_factor}
            yield (
                entry.above,
                {
                    kind: times(price, factors[KINDS[kind].direction])
                    for kind, price in unit_prices.items()
                    if KINDS[kind].is_tokens
                },
            )


@lru_cache(maxsize=4096)
def declared_starts(model: CanonicalModel) -> tuple[date, ...]:
    """Return the days on which declared prices of the model begin, the earliest first."""
    starts = {
        entry.starts
        for entry in SUPPLEMENTS
        if entry.starts is not None and _is_for(entry.platform, entry.models, model)
    }
    return tuple(sorted(starts))


def declared_conditions(model: CanonicalModel) -> tuple[Condition, ...]:
    """Return the declared conditions for a model, which also apply to an organization's own price."""
    return tuple(
        condition
        for condition in CONDITIONS
        if model.platform in condition.platforms
        and any(fnmatchcase(model.model.lower(), pattern) for pattern in condition.models)
    )


def _is_for(platform: str, patterns: Iterable[str], model: CanonicalModel) -> bool:
    """Whether a declaration is for this model. Those of a vendor also hold where a platform charges its list."""
    if platform not in ("*", model.platform, model.provider):
        return False
    names = {model.name, model.model.lower()}
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _options(model: CanonicalModel, attributes: Mapping[str, str | None]) -> Attributes:
    """Return the conditions of a call. The region in the model's name is that of the call; the sender's region may only
    be where it was sent to."""
    if not attributes and not model.region:
        return {}
    return normalized_attributes({**attributes, "region": model.region or attributes.get("region")})


def _by_kind(counted: tuple[str, Quantity]) -> int:
    return _POSITIONS[counted[0]]


class _Pricing:
    """The unit prices of calls under the same conditions, with what takes the place of those that are missing."""

    def __init__(
        self,
        model: CanonicalModel,
        conditioned: ConditionedPrices,
        *,
        standard: Mapping[str, Decimal],
        tier_above: int | None,
        search_context: str,
    ) -> None:
        self.unknown = conditioned.unknown
        self.applied = conditioned.applied
        self.tier_above = tier_above
        self._model = model
        self._unit_prices = conditioned.unit_prices
        self._standard = standard
        self._minimums = {
            kind: minimum
            for platform, pattern, kinds, minimum in MINIMUM_QUANTITIES
            if _is_for(platform, (pattern,), model)
            for kind in kinds
        }
        self._prices: dict[str, _Price | None] = {}
        # A request has the price of its search context, or one for all.
        kinds = (f"request_search_{search_context}", "request")
        self.request_kind = next((kind for kind in kinds if kind in self._unit_prices), "")
        # What one unit costs in 10^-24 USD, for kinds that are charged exactly and at a price of their own.
        self.plain_rates: dict[str, int] = {}
        self.request_rate = self.plain_rate(self.request_kind) if self.request_kind or self.unknown else 0
        self.text_rates = self._text_rates()
        """The rates of a request, uncached input, cached input and output; None if one of them is not plain."""

    def _text_rates(self) -> tuple[int, int, int, int] | None:
        rates = [self.request_rate, *map(self.plain_rate, ("input", "cache_read", "output"))]
        request, uncached, cached, output = rates
        if request is None or uncached is None or cached is None or output is None:
            return None
        return request, uncached, cached, output

    def plain_rate(self, kind: str) -> int | None:
        """Return the rate of a kind for `CompiledPrices.plain_cost`; None if its charge is not plain."""
        price = None if self.unknown or kind in self._minimums else self._price(kind)
        if price is None or price.is_estimate or price.rate is None:
            return None
        self.plain_rates[kind] = price.rate
        return price.rate

    def has_price(self, kind: str, quantity: Quantity) -> bool:
        if self._price(kind) is None:
            return False
        return not self._minimums or quantity >= self._minimums.get(kind, 0)

    def line(self, kind: str, quantity: Quantity, agreement: Agreement | None) -> QuoteLine:
        price = self._known_price(kind)
        per = KINDS[kind].per
        list_amount = to_storable(quantity * price.unit_price / per)
        unit_price, amount = price.unit_price, list_amount
        if agreement is not None:
            unit_price = to_storable(agreement.unit_price(kind, price.unit_price, self._standard.get(kind)))
            amount = to_storable(quantity * unit_price / per)
        return QuoteLine(
            kind, quantity, unit_price, amount, price.unit_price, list_amount, price.priced_as, price.is_estimate
        )

    def total(self, counted: Iterable[tuple[str, Quantity]]) -> tuple[Decimal, bool]:
        """Return the sum of the amounts, and whether one is an estimate."""
        exact = 0
        rounded = ZERO
        is_estimate = False
        for kind, quantity in counted:
            price = self._known_price(kind)
            is_estimate = is_estimate or price.is_estimate
            if price.rate is not None and isinstance(quantity, int):
                exact += price.rate * quantity
            else:
                rounded += to_storable(quantity * price.unit_price / KINDS[kind].per)
        return Decimal(exact).scaleb(-DECIMALS) + rounded, is_estimate

    def _known_price(self, kind: str) -> _Price:
        price = self._price(kind)
        if price is None:
            raise ValueError(f"{kind} has no unit price.")
        return price

    def _price(self, kind: str) -> _Price | None:
        if kind not in self._prices:
            price = self._own_or_like(kind, _MAX_LIKES)
            self._prices[kind] = replace(price, rate=_rate(kind, price.unit_price)) if price is not None else None
        return self._prices[kind]

    def _own_or_like(self, kind: str, depth: int) -> _Price | None:
        own = self._unit_prices.get(kind)
        if own is not None:
            return _Price(own)
        if not depth:
            return None
        for entry in SUBSTITUTES:
            if kind in entry.kinds and _is_for(entry.platform, entry.models, self._model):
                price = self._own_or_like(entry.like, depth - 1)
                if price is not None:
                    return _Price(times(price.unit_price, entry.factor), entry.like, entry.is_estimate)
        like = KINDS[kind].like
        price = self._own_or_like(like, depth - 1) if like else None
        if price is None:
            return None
        return _Price(price.unit_price, like, KINDS[kind].is_estimate or price.is_estimate)


def _rate(kind: str, unit_price: Decimal) -> int | None:
    rate = Fraction(unit_price) * 10**DECIMALS / KINDS[kind].per
    return rate.numerator if rate.denominator == 1 else None
