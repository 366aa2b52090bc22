"""The most expensive hour, day, week or month of the usage page's chart, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.admin.components.percent_bar import share_of
from billing.admin.dashboard.usage.usage_series import Layer, Layers
from costtrack.calendar import Unit
from costtrack.money import ZERO, usd


@dataclass(frozen=True, slots=True)
class Peak:
    """`url` leads to what it is made of. `mostly` is the dearest part of it; empty: it is not stacked."""

    title: str
    name: str
    url: str
    cost: str
    share: str
    mostly: str


def peak_of(found: Layers, unit: Unit, names: Sequence[str], urls: Sequence[str]) -> Peak | None:
    """None: nothing has a cost, or there is nothing to compare."""
    costs = [figures.cost_usd for figures in found.periods]
    highest = max(costs, default=ZERO)
    if highest <= 0 or len(costs) == 1:
        return None
    place = costs.index(highest)
    return Peak(
        title=f"Most expensive {unit}",
        name=names[place],
        url=urls[place],
        cost=usd(highest),
        share=share_of(highest, found.total.cost_usd).text,
        mostly=_mostly(found.layers, place, highest),
    )


def _mostly(layers: Sequence[Layer], place: int, whole: Decimal) -> str:
    dearest = max((one for one in layers if one.is_one), key=lambda one: one.periods[place].cost_usd, default=None)
    if dearest is None:
        return ""
    cost = dearest.periods[place].cost_usd
    if cost <= 0:
        return ""
    # "Mostly" promises more than a half.
    return f"{'mostly' if cost * 2 > whole else 'above all'} {dearest.name} ({usd(cost)})"
