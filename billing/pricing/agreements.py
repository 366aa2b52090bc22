"""An organization's agreements with providers: a discount, or unit prices of its own. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase

_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Agreement:
    """Terms for calls of `models` at `provider` from `starts_at` until before `ends_at`.

    `unit_prices` (USD per the kind's unit) replace the list's standard prices; conditions and tiers change them by the
    same ratio as the list price. Kinds without one get `discount_percent`. `kinds` limits the discount to some kinds.
    """

    provider: str
    models: tuple[str, ...] = ("*",)
    discount_percent: Decimal = Decimal(0)
    unit_prices: Mapping[str, Decimal] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.discount_percent <= _PERCENT:
            raise ValueError("A discount is between 0 and 100 percent.")

    def covers(self, provider: str, model: str, at: datetime) -> bool:
        if (self.starts_at is not None and at < self.starts_at) or (self.ends_at is not None and at >= self.ends_at):
            return False
        names_provider = self.provider in ("*", provider)
        return names_provider and any(fnmatchcase(model, pattern.lower()) for pattern in self.models)

    def discounted(self, amount: Decimal) -> Decimal:
        return amount * (_PERCENT - self.discount_percent) / _PERCENT

    def unit_price(self, kind: str, list_price: Decimal, standard_price: Decimal | None) -> Decimal:
        """Return what a unit costs under this agreement.

        `list_price` is the list's under the conditions of the call, `standard_price` without conditions.
        """
        own = self.unit_prices.get(kind)
        if own is not None:
            return own * list_price / standard_price if standard_price else own
        return self.discounted(list_price) if not self.kinds or kind in self.kinds else list_price


def agreement_for(agreements: Iterable[Agreement], provider: str, model: str, at: datetime) -> Agreement | None:
    """Return the first agreement that covers the call; the more specific ones come first."""
    return next((agreement for agreement in agreements if agreement.covers(provider, model, at)), None)
