"""Exact calculation of the cost of a call. Pure.

Internally, money is an integer of attodollars (10^-18 USD). A unit price has at most 12 decimals per million tokens, so
the price of one token is such an integer. Integers do not depend on the decimal context and are several times faster
than Decimal, which matters because the intake prices every event.
"""

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal

from billing.pricing.types import Calculation, PriceKind, PriceLine, TokenUsage, UnitPrices
from billing.types import UnpricedReason

_DECIMALS = 18
_ATTODOLLARS: int = 10**_DECIMALS
_TOKENS_PER_UNIT = 1_000_000
# Wide enough for any 64-bit quantity at any storable unit price.
_WIDE = Context(prec=80)

NO_UNIT_PRICE = Calculation(reason=UnpricedReason.NO_UNIT_PRICE)

# Kinds without a unit price are charged as another kind. One-hour cache writes, reasoning and audio are not listed:
# without a unit price they stay in the line of their total.
_FALLBACKS = {PriceKind.CACHE_READ: PriceKind.INPUT, PriceKind.CACHE_CREATION: PriceKind.INPUT}


class CompiledPrice:
    """A price prepared for many calls. Immutable, so threads may share it.

    Counts must not be negative. A partial count that exceeds its total is charged alone.
    """

    __slots__ = ("_base", "_tiers", "price_version_id", "prices")

    def __init__(self, prices: UnitPrices, price_version_id: int | None = None) -> None:
        """Raises ValueError for a unit price with more than 12 decimals."""
        self.prices = prices
        self.price_version_id = price_version_id
        self._base = _Level(prices.unit_prices)
        tiers = sorted(prices.tiers, key=lambda tier: tier.above_input_tokens, reverse=True)
        self._tiers = tuple(
            (tier.above_input_tokens, _Level({**prices.unit_prices, **tier.unit_prices})) for tier in tiers
        )

    @property
    def charges_requests(self) -> bool:
        """Whether the price has a charge per request."""
        return self._base.has_request_price

    def cost(self, usage: TokenUsage, *, requests: int = 1) -> Decimal | None:
        """Return the total of `calculate`; None if a token has no unit price."""
        level = self._level(usage)
        rates = level.rates
        total = level.request_rate * requests
        for kind, quantity in level.split(usage):
            rate = rates[kind]
            if rate is None:
                return None
            total += rate * quantity
        return _WIDE.scaleb(Decimal(total), -_DECIMALS)

    def calculate(self, usage: TokenUsage, *, requests: int = 1) -> Calculation:
        """Return the lines in the order of `PriceKind`, and their sum."""
        level = self._level(usage)
        quantities: dict[PriceKind, int] = dict(level.split(usage))
        if level.has_request_price and requests:
            quantities[PriceKind.REQUEST] = requests
        if any(level.rates[kind] is None for kind in quantities):
            return NO_UNIT_PRICE
        lines = tuple(level.line(kind, quantities[kind]) for kind in PriceKind if kind in quantities)
        return Calculation(lines=lines, total_usd=_sum(line.amount_usd for line in lines))

    def without_price(self, usage: TokenUsage) -> tuple[PriceKind, ...]:
        """Return the kinds of tokens without a unit price."""
        level = self._level(usage)
        return tuple(kind for kind, _ in level.split(usage) if level.rates[kind] is None)

    def _level(self, usage: TokenUsage) -> "_Level":
        """Return the unit prices for a prompt of this size. A tier applies to all tokens of the call."""
        if self._tiers:
            prompt_tokens = usage.prompt_tokens
            for above_input_tokens, level in self._tiers:
                if prompt_tokens > above_input_tokens:
                    return level
        return self._base


class _Level:
    """The unit prices of one tier, or the base prices, with fallbacks resolved."""

    __slots__ = (
        "has_request_price",
        "own_audio_input",
        "own_audio_output",
        "own_cache_creation_1h",
        "own_reasoning",
        "rates",
        "request_rate",
        "unit_prices",
    )

    def __init__(self, unit_prices: dict[PriceKind, Decimal]) -> None:
        self.unit_prices = {kind: _with_fallback(kind, unit_prices) for kind in PriceKind}
        self.rates = {kind: _rate(kind, price) for kind, price in self.unit_prices.items()}
        self.request_rate = self.rates[PriceKind.REQUEST] or 0
        self.has_request_price = PriceKind.REQUEST in unit_prices
        self.own_audio_input = PriceKind.AUDIO_INPUT in unit_prices
        self.own_audio_output = PriceKind.AUDIO_OUTPUT in unit_prices
        self.own_cache_creation_1h = PriceKind.CACHE_CREATION_1H in unit_prices
        self.own_reasoning = PriceKind.REASONING in unit_prices

    def split(self, usage: TokenUsage) -> list[tuple[PriceKind, int]]:
        """Split the usage into quantities that do not overlap and are not zero; each token is in exactly one."""
        plain_input, plain_output = usage.input_tokens, usage.output_tokens
        quantities: list[tuple[PriceKind, int]] = []
        if usage.cache_read_tokens:
            quantities.append((PriceKind.CACHE_READ, usage.cache_read_tokens))
        if usage.cache_creation_tokens or usage.cache_creation_1h_tokens:
            quantities += self._split_cache_creation(usage)
        if usage.reasoning_tokens and self.own_reasoning:
            quantities.append((PriceKind.REASONING, usage.reasoning_tokens))
            plain_output -= usage.reasoning_tokens
        if usage.audio_input_tokens and self.own_audio_input:
            quantities.append((PriceKind.AUDIO_INPUT, usage.audio_input_tokens))
            plain_input -= usage.audio_input_tokens
        if usage.audio_output_tokens and self.own_audio_output:
            quantities.append((PriceKind.AUDIO_OUTPUT, usage.audio_output_tokens))
            plain_output -= usage.audio_output_tokens
        if plain_input > 0:
            quantities.append((PriceKind.INPUT, plain_input))
        if plain_output > 0:
            quantities.append((PriceKind.OUTPUT, plain_output))
        return quantities

    def _split_cache_creation(self, usage: TokenUsage) -> Iterator[tuple[PriceKind, int]]:
        five_minutes, one_hour = usage.cache_creation_tokens, usage.cache_creation_1h_tokens
        if one_hour and self.own_cache_creation_1h:
            yield PriceKind.CACHE_CREATION_1H, one_hour
            five_minutes -= one_hour
        if five_minutes > 0:
            yield PriceKind.CACHE_CREATION, five_minutes

    def line(self, kind: PriceKind, quantity: int) -> PriceLine:
        unit_price, rate = self.unit_prices[kind], self.rates[kind]
        if unit_price is None or rate is None:
            raise ValueError(f"{kind} has no unit price.")
        return PriceLine(kind, quantity, unit_price, _WIDE.scaleb(Decimal(rate * quantity), -_DECIMALS))


def calculate(prices: UnitPrices, usage: TokenUsage, *, requests: int = 1) -> Calculation:
    """Return the cost of one call and its lines. For many calls at one price use a `CompiledPrice`."""
    return CompiledPrice(prices).calculate(usage, requests=requests)


def _with_fallback(kind: PriceKind, unit_prices: dict[PriceKind, Decimal]) -> Decimal | None:
    return unit_prices.get(kind, unit_prices.get(_FALLBACKS.get(kind, kind)))


def _rate(kind: PriceKind, unit_price: Decimal | None) -> int | None:
    """Return attodollars per token, or per request."""
    if unit_price is None:
        return None
    units = 1 if kind is PriceKind.REQUEST else _TOKENS_PER_UNIT
    numerator, denominator = unit_price.as_integer_ratio()
    if numerator * _ATTODOLLARS % (denominator * units):
        raise ValueError(f"The unit price {unit_price} has more than 12 decimals.")
    return numerator * _ATTODOLLARS // (denominator * units)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = _WIDE.add(total, amount)
    return total
