"""The sentence about the most expensive hour, day, week or month of the usage page's chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.admin.components.percent_bar import share_of
from billing.admin.dashboard.usage.usage_series import Layer, Layers
from costtrack.calendar import Unit
from costtrack.money import ZERO, usd


@dataclass(frozen=True, slots=True)
class Peak:
    """`url` links to the period's details. `mostly` is its most expensive layer; empty if the chart is not stacked."""

    title: str
    name: str
    url: str
    cost: str
    share: str
    mostly: str


def peak_of(layers: Layers, unit: Unit, names: Sequence[str], urls: Sequence[str]) -> Peak | None:
    """Return the peak; None if nothing has a cost or there is only one period."""
    costs = [figures.cost_usd for figures in layers.periods]
    highest = max(costs, default=ZERO)
    if highest <= 0 or len(costs) == 1:
        return None
    index = costs.index(highest)
    return Peak(
        title=f"Most expensive {unit}",
        name=names[index],
        url=urls[index],
        cost=usd(highest),
        share=share_of(highest, layers.total.cost_usd).text,
        mostly=_mostly(layers.layers, index, highest),
    )


def _mostly(layers: Sequence[Layer], index: int, total: Decimal) -> str:
    largest = max(
        (layer for layer in layers if layer.is_single), key=lambda layer: layer.periods[index].cost_usd, default=None
    )
    if largest is None:
        return ""
    cost = largest.periods[index].cost_usd
    if cost <= 0:
        return ""
    # "Mostly" means more than half.
    return f"{'mostly' if cost * 2 > total else 'above all'} {largest.name} ({usd(cost)})"
