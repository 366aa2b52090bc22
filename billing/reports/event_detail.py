"""Why single events cost what they cost. Read-only, and as quick on a large ledger as on a small one."""

from dataclasses import dataclass
from decimal import Decimal

from billing.ledger.net_cost import AdjustedEvent, load_adjusted_event
from billing.models import PriceVersion, UsageEvent
from billing.pricing.calculate import CompiledPrice
from billing.pricing.records import unit_prices_of
from billing.pricing.types import Calculation, PriceKind, TokenUsage


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an event costs what it costs.

    `adjusted_event` is the event with the rows that correct it. `calculation` is what `price`, the one that was applied
    last, makes of the event's counts, and `without_price` are the kinds of tokens that it has no unit price for.
    `corrected` is the event that this row corrects, if it is an adjustment.
    """

    adjusted_event: AdjustedEvent
    price: PriceVersion | None
    calculation: Calculation
    corrected: UsageEvent | None
    without_price: tuple[PriceKind, ...] = ()

    @property
    def cost_now_usd(self) -> Decimal | None:
        """The cost with its adjustments; None while it is not known."""
        return self.adjusted_event.cost_usd


def explain(event: UsageEvent) -> Explanation:
    """The way from the event's counts to its cost. For an adjustment these are the counts of the event it corrects;
    when that one was dropped, nothing is left to calculate with."""
    adjusted_event = load_adjusted_event(event)
    corrected = _corrected_by(event)
    applied = [row.price_version_id for row in (event, *adjusted_event.adjustments) if row.price_version_id is not None]
    price = PriceVersion.objects.filter(pk=applied[-1]).first() if applied else None
    if price is None or (event.adjusts is not None and corrected is None):
        return Explanation(adjusted_event, price, Calculation(), corrected)
    compiled, usage = CompiledPrice(unit_prices_of(price)), TokenUsage.of(corrected or event)
    return Explanation(adjusted_event, price, compiled.calculate(usage), corrected, compiled.without_price(usage))


def _corrected_by(event: UsageEvent) -> UsageEvent | None:
    if event.adjusts is None:
        return None
    return UsageEvent.objects.of(event.organization).filter(pk=event.adjusts).first()
