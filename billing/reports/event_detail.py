"""Explain what single events cost. Read-only, with cost independent of the size of the ledger."""

from dataclasses import dataclass
from decimal import Decimal

from billing.ledger.net_cost import AdjustedEvent, load_adjusted_event
from billing.models import PriceVersion, UsageEvent
from billing.pricing.calculate import CompiledPrice
from billing.pricing.price_fields import unit_prices_of
from billing.pricing.types import Calculation, PriceKind, TokenUsage


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the cost of an event came about.

    `adjusted_event` is the event with its adjustments. `calculation` applies `price`, the last applied price version,
    to the counts of the event; `without_price` are the token kinds for which it has no unit price. `corrected` is the
    event that this row corrects, if it is an adjustment.
    """

    adjusted_event: AdjustedEvent
    price: PriceVersion | None
    calculation: Calculation
    corrected: UsageEvent | None
    without_price: tuple[PriceKind, ...] = ()

    @property
    def cost_now_usd(self) -> Decimal | None:
        """The net cost, or None while it is unknown."""
        return self.adjusted_event.cost_usd


def explain(event: UsageEvent) -> Explanation:
    """Explain an event. An adjustment is explained with the counts of the event it corrects; if that event was dropped,
    the calculation is empty."""
    adjusted_event = load_adjusted_event(event)
    corrected = _find_corrected(event)
    applied = [row.price_version_id for row in (event, *adjusted_event.adjustments) if row.price_version_id is not None]
    price = PriceVersion.objects.filter(pk=applied[-1]).first() if applied else None
    if price is None or (event.adjusts is not None and corrected is None):
        return Explanation(adjusted_event, price, Calculation(), corrected)
    compiled, usage = CompiledPrice(unit_prices_of(price)), TokenUsage.of(corrected or event)
    return Explanation(adjusted_event, price, compiled.calculate(usage), corrected, compiled.without_price(usage))


def _find_corrected(event: UsageEvent) -> UsageEvent | None:
    if event.adjusts is None:
        return None
    return UsageEvent.objects.of(event.organization).filter(pk=event.adjusts).first()
