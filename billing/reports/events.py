"""Why single events cost what they cost. Read-only, and as quick on a large ledger as on a small one."""

from dataclasses import dataclass
from decimal import Decimal

from billing.models import PriceVersion, UsageEvent
from billing.pricing.calculate import calculate
from billing.pricing.records import unit_prices_of
from billing.pricing.types import Calculation, TokenUsage
from billing.types import EventKind
from costtrack.money import ZERO


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an event costs what it costs.

    `calculation` is what `price` makes of the event's counts. `adjustments` are the rows that correct the event;
    `corrected` is the event that this row corrects, if it is an adjustment. `cost_now_usd` is the event's cost with
    its adjustments; None while it is not known.
    """

    price: PriceVersion | None
    calculation: Calculation
    adjustments: tuple[UsageEvent, ...]
    corrected: UsageEvent | None
    cost_now_usd: Decimal | None


def explain(event: UsageEvent) -> Explanation:
    """The way from the event's counts to its cost. For an adjustment these are the counts of the event it corrects."""
    adjustments = _adjustments_of(event)
    corrected = _corrected_by(event)
    price_version_id = event.price_version_id
    if price_version_id is None and adjustments:
        price_version_id = adjustments[-1].price_version_id
    price = PriceVersion.objects.filter(pk=price_version_id).first() if price_version_id is not None else None
    calculation = Calculation()
    if price is not None:
        calculation = calculate(unit_prices_of(price), TokenUsage.of(corrected or event))
    return Explanation(price, calculation, adjustments, corrected, _cost_now(event, adjustments))


def _adjustments_of(event: UsageEvent) -> tuple[UsageEvent, ...]:
    """They bear the time of their event, so the index on time finds them."""
    if event.kind == EventKind.ADJUSTMENT.value:
        return ()
    same_time = UsageEvent.objects.of(event.organization).filter(occurred_at=event.occurred_at)
    return tuple(same_time.filter(adjusts=event.pk).order_by("received_at", "id"))


def _corrected_by(event: UsageEvent) -> UsageEvent | None:
    if event.adjusts is None:
        return None
    return UsageEvent.objects.of(event.organization).filter(pk=event.adjusts).first()


def _cost_now(event: UsageEvent, adjustments: tuple[UsageEvent, ...]) -> Decimal | None:
    if not adjustments:
        return event.cost_usd
    changes = [adjustment.token_cost_usd for adjustment in adjustments if adjustment.token_cost_usd is not None]
    return sum(changes, (event.token_cost_usd or ZERO) + event.compute_cost_usd)
