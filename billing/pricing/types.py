"""Value types of pricing. Pure: no Django models, no database."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Self

from msgspec import Struct

from billing.types import UnpricedReason


class PriceKind(StrEnum):
    """A kind of usage that is charged. `column` is its unit price column in PriceVersion."""

    INPUT = "input"
    OUTPUT = "output"
    CACHE_READ = "cache_read"
    CACHE_CREATION = "cache_creation"
    CACHE_CREATION_1H = "cache_creation_1h"
    REASONING = "reasoning"
    AUDIO_INPUT = "audio_input"
    AUDIO_OUTPUT = "audio_output"
    REQUEST = "request"

    @property
    def column(self) -> str:
        return "request_usd" if self is PriceKind.REQUEST else f"{self.value}_usd_per_million"


class TokenUsage(Struct, frozen=True):
    """Token counts of one call as the ledger stores them: totals include their parts (see `UsageEvent`)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0

    @classmethod
    def of(cls, row: object) -> Self:
        """Return the counts of an object with these attributes, such as a row of the ledger."""
        return cls(*_counts_of(row))

    @property
    def prompt_tokens(self) -> int:
        """All input, including caches; determines the tier."""
        return self.input_tokens + self.cache_read_tokens + self.cache_creation_tokens


TOKEN_COUNTS = TokenUsage.__struct_fields__
_counts_of = attrgetter(*TOKEN_COUNTS)


@dataclass(frozen=True, slots=True)
class Tier:
    """Unit prices that replace the base ones when a call's prompt has more than `above_input_tokens` tokens."""

    above_input_tokens: int
    unit_prices: dict[PriceKind, Decimal]


@dataclass(frozen=True, slots=True)
class UnitPrices:
    """US dollars per million tokens of each kind, and per request for `PriceKind.REQUEST`."""

    unit_prices: dict[PriceKind, Decimal]
    tiers: tuple[Tier, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceLine:
    """quantity x unit price = amount. The unit is a million tokens, or one request."""

    kind: PriceKind
    quantity: int
    unit_price_usd: Decimal
    amount_usd: Decimal


@dataclass(frozen=True, slots=True)
class Calculation:
    """The cost of one call: its lines and their exact sum, or the reason why it is unknown."""

    lines: tuple[PriceLine, ...] = ()
    total_usd: Decimal | None = None
    reason: UnpricedReason | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """A calculation and the price version it was made with."""

    price_version_id: int | None = None
    calculation: Calculation = field(default_factory=Calculation)
