"""The layers of the usage page's chart: the figures of each period per model, capability, credential or status."""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.admin.dashboard.request_log.request_log_urls import filters_for
from billing.reports.usage.breakdown import RANK_BY, View, series
from billing.reports.usage.figures import ZERO_FIGURES, Figures, GroupBy
from billing.reports.usage.query import UsageQuery
from billing.reports.usage.totals import totals
from costtrack.calendar import Span

_MAX_ITEMS = 8  # and one for all others; charts.js has nine colors
WITHOUT = {
    GroupBy.MODEL: "Without a model",
    GroupBy.CAPABILITY: "Without a capability",
    GroupBy.CREDENTIAL: "Without a credential",
    GroupBy.STATUS: "Without a status",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """`filters` restrict the request log to the layer. `is_single` is false for the layer of all others."""

    name: str
    filters: dict[str, str]
    periods: Sequence[Figures]
    is_single: bool = True


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a chart; none if it is not stacked. `periods` are the sums of all layers."""

    layers: Sequence[Layer]
    periods: Sequence[Figures]

    @property
    def total(self) -> Figures:
        return sum(self.periods, ZERO_FIGURES)


def layers_of(query: UsageQuery, view: View, by: GroupBy | None, periods: Sequence[Span]) -> Layers:
    if by is None:
        return Layers((), totals(organization=query.organization, filters=query.filters, windows=periods))
    entries = series(
        organization=query.organization,
        filters=query.filters,
        windows=periods,
        by=by,
        rank_by=RANK_BY[view],
        limit=_MAX_ITEMS,
    )
    layers = [
        Layer(entry.name or WITHOUT[by], filters_for(by, entry.key), entry.periods, is_single=entry.key is not None)
        for entry in entries
    ]
    sums = [sum((layer.periods[index] for layer in layers), ZERO_FIGURES) for index in range(len(periods))]
    return Layers(layers, sums)
