"""Conditions that change the price of a call: service tier, speed, geography, hour of the day. Pure.

A condition names an attribute of the call (`service_tier`, `speed`, `region`, ...), the values it holds for, and what
they do: replace unit prices or multiply those of tokens. genai-prices has some of them (`billing.pricing.kind_prices`);
`billing.pricing.declared_prices` has what it lacks, each with its source and the date it was checked. A service tier or
speed that no rule covers leaves the cost unknown, because the price is another one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import TypeAlias

from billing.pricing.kinds import TOKEN_KINDS
from costtrack.money import to_storable

# By attribute: service_tier, speed, region, search_context, search_type, route. Values are lower case.
Attributes: TypeAlias = Mapping[str, str]

STANDARD = "standard"
# Values by which senders say that nothing special applies.
_ORDINARY = frozenset(
    {
        "",
        "auto",
        "default",
        "on_demand",
        "none",
        "null",
        "unspecified",
        "not_available",
        "normal",
        "global",
        "traffic_type_unspecified",
        STANDARD,
    }
)
# Other names of the same service tier.
TIER_NAMES = {
    "batched": "batch",
    "batch_api": "batch",
    "batches": "batch",
    "flex_discount": "flex",
    "on_demand_flex": "flex",
    "priority_on_demand": "priority",
    "on_demand_priority": "priority",
    "fast": "priority",
    "performance": "priority",
    "provisioned_throughput": "provisioned",
    "ptu": "provisioned",
    "scale": "provisioned",
}
# A region is only a condition where a rule says so; any other tier or speed has a price of its own.
_NEEDS_RULE = frozenset({"service_tier", "speed"})


@dataclass(frozen=True, slots=True)
class Hours:
    """A span of every day in UTC; it may cross midnight."""

    start: time
    end: time

    def includes(self, instant: datetime) -> bool:
        now = instant.astimezone(UTC).time()
        if self.end < self.start:
            return now >= self.start or now < self.end
        return self.start <= now < self.end


@dataclass(frozen=True, slots=True)
class Rates:
    """Unit prices by kind. `tiers` replace them above a number of input tokens, the lowest first."""

    unit_prices: Mapping[str, Decimal] = field(default_factory=dict)
    tiers: tuple[tuple[int, Mapping[str, Decimal]], ...] = ()

    def at(self, prompt_tokens: int) -> Mapping[str, Decimal]:
        """Return the unit prices for a prompt of this size. A tier applies to all tokens of the call."""
        for above, unit_prices in reversed(self.tiers):
            if prompt_tokens > above:
                return {**self.unit_prices, **unit_prices}
        return self.unit_prices

    def tier_at(self, prompt_tokens: int) -> int | None:
        """Return the threshold of the tier that applies."""
        return max((above for above, _ in self.tiers if prompt_tokens > above), default=None)


@dataclass(frozen=True, slots=True)
class Condition:
    """A change of prices for calls of `models` at `platforms` whose `attribute` has one of `values`.

    Models and values are patterns with `*`, in lower case. `rates` replace unit prices, `factor` multiplies those of
    tokens, or of `kinds`. Without both, the price is another one that we do not know.
    """

    attribute: str
    values: tuple[str, ...]
    platforms: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ("*",)
    factor: Fraction | None = None
    rates: Rates | None = None
    kinds: tuple[str, ...] = ()
    hours: Hours | None = None
    starts: date | None = None
    ends: date | None = None
    source: str = ""
    checked: date | None = None

    @property
    def is_unknown(self) -> bool:
        return self.factor is None and self.rates is None

    def applies(self, platform: str, model: str, attributes: Attributes, at: datetime) -> bool:
        if self.hours is not None:
            if not self.hours.includes(at):
                return False
        elif self.attribute not in attributes or not _matches(self.values, attributes[self.attribute]):
            return False
        day = at.astimezone(UTC).date()
        if (self.starts is not None and day < self.starts) or (self.ends is not None and day >= self.ends):
            return False
        return _matches(self.platforms, platform) and _matches(self.models, model)


@dataclass(frozen=True, slots=True)
class AppliedCondition:
    """What changed the prices of one call. `factor` is None if unit prices were replaced."""

    attribute: str
    value: str
    factor: Fraction | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class ConditionedPrices:
    """Unit prices under the conditions of a call, and the attributes whose price is unknown."""

    unit_prices: Mapping[str, Decimal]
    applied: tuple[AppliedCondition, ...] = ()
    unknown: tuple[str, ...] = ()


def normalized_attributes(attributes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the attributes that matter, in one spelling; ordinary values are omitted."""
    normalized: dict[str, str] = {}
    for name, value in attributes.items():
        text = str(value or "").strip().lower().replace("-", "_" if name in _NEEDS_RULE else "-")
        if name == "service_tier":
            text = TIER_NAMES.get(text, text)
        if text not in _ORDINARY:
            normalized[name] = text
    return normalized


def apply_conditions(
    rates: Rates,
    conditions: Iterable[Condition],
    *,
    platform: str,
    model: str,
    attributes: Attributes,
    at: datetime,
    prompt_tokens: int,
) -> ConditionedPrices:
    """Return the unit prices of a call.

    Of each attribute the first condition that applies counts; of conditions that replace unit prices the first that
    names a kind. So published prices come before the declared conditions in `conditions`.
    """
    matching: dict[str, list[Condition]] = {}
    for condition in conditions:
        if condition.applies(platform, model, attributes, at):
            matching.setdefault(condition.attribute, []).append(condition)
    unit_prices = dict(rates.at(prompt_tokens))
    applied = []
    factors = []
    for attribute, (first, *others) in matching.items():
        if first.rates is not None:
            for condition in (*reversed(others), first):
                if condition.rates is not None:
                    unit_prices.update(condition.rates.at(prompt_tokens))
        elif first.factor is not None:
            factors.append((first.factor, first.kinds or TOKEN_KINDS))
        if not first.is_unknown and first.factor != 1:
            value = attributes.get(attribute, first.values[0])
            applied.append(AppliedCondition(attribute, value, first.factor, first.source))
    for factor, kinds in factors:
        unit_prices = {kind: times(price, factor) if kind in kinds else price for kind, price in unit_prices.items()}
    unknown = tuple(
        name for name in attributes if (matching[name][0].is_unknown if name in matching else name in _NEEDS_RULE)
    )
    return ConditionedPrices(unit_prices, tuple(applied), unknown)


def times(price: Decimal, factor: Fraction) -> Decimal:
    """Return the product, exact if it has at most 24 decimals."""
    product = Fraction(price) * factor
    return to_storable(Decimal(product.numerator) / Decimal(product.denominator))


def _matches(patterns: Iterable[str], text: str) -> bool:
    return any(pattern in ("*", text) or fnmatchcase(text, pattern) for pattern in patterns)
