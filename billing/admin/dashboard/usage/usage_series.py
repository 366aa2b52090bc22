"""What the usage page's chart is stacked by: for each model, capability, ... the figures of every period."""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.admin.dashboard.request_log.request_log_urls import part_of
from billing.reports.usage.breakdown import series
from billing.reports.usage.figures import NOTHING, Figures, GroupBy
from billing.reports.usage.periods import LARGEST, View
from billing.reports.usage.query import UsageQuery
from billing.reports.usage.series import totals
from costtrack.calendar import Span

_MAX_ITEMS = 8  # and one for all others: so many colors there are
WITHOUT = {
    GroupBy.MODEL: "Without a model",
    GroupBy.CAPABILITY: "Without a capability",
    GroupBy.CREDENTIAL: "Without a credential",
    GroupBy.STATUS: "Without a status",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """`part` is what narrows the request log to it. `is_one`: not all others together."""

    name: str
    part: dict[str, str]
    periods: Sequence[Figures]
    is_one: bool = True


@dataclass(frozen=True, slots=True)
class Layers:
    """No layers: it is not stacked. `periods` are the sums of all."""

    layers: Sequence[Layer]
    periods: Sequence[Figures]

    @property
    def total(self) -> Figures:
        return sum(self.periods, NOTHING)


def layers_of(query: UsageQuery, view: View, by: GroupBy | None, periods: Sequence[Span]) -> Layers:
    if by is None:
        return Layers((), totals(organization=query.organization, filters=query.filters, windows=periods))
    found = series(
        organization=query.organization,
        filters=query.filters,
        windows=periods,
        by=by,
        largest=LARGEST[view],
        most=_MAX_ITEMS,
    )
    layers = [
        Layer(one.name or WITHOUT[by], part_of(by, one.key), one.periods, is_one=one.key is not None) for one in found
    ]
    sums = [sum((layer.periods[place] for layer in layers), NOTHING) for place in range(len(periods))]
    return Layers(layers, sums)
