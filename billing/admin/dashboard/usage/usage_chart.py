"""The usage page's chart: requests, tokens or costs over time, stacked by a dimension."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from django.http import HttpRequest

from billing.admin.components import formatting
from billing.admin.components.charts import Chart, Line
from billing.admin.components.datetimes import span_name
from billing.admin.components.percent_bar import share_of
from billing.admin.components.urls import url_for_dates, url_with
from billing.admin.components.usage_form import NOT_STACKED, STACKS, VIEWS
from billing.admin.dashboard.usage.call_urls import FilteredURLs, filters_for, urls_of_calls
from billing.reports.usage.breakdown import RANK_BY, View, series
from billing.reports.usage.figures import DIMENSIONS, ZERO_FIGURES, Figures, GroupBy
from billing.reports.usage.query import UsageQuery, split_into_periods, unit_for
from billing.reports.usage.totals import totals
from billing.types import Status
from costtrack.calendar import Calendar, Span, Unit
from costtrack.money import ZERO, usd

_SECOND = timedelta(seconds=1)
_HOURS_OF_ONE_DAY = 25
_MAX_ITEMS = 8  # and one for all others; charts.js has nine colors
WITHOUT = {dimension.by: dimension.without for dimension in DIMENSIONS}


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


@dataclass(frozen=True, slots=True)
class Peak:
    """`url` links to the period's details. `mostly` is its most expensive layer; empty if the chart is not stacked."""

    title: str
    name: str
    url: str
    cost: str
    share: str
    mostly: str


Tab = tuple[str, str, bool]
"""A label, a URL, and whether it is the current one."""


@dataclass(frozen=True, slots=True)
class UsageChart:
    """`leads_to` describes the target of a bar's link."""

    chart: Chart
    total: str
    is_empty: bool
    views: tuple[Tab, ...]
    stacks: tuple[Tab, ...]
    leads_to: str
    peak: Peak | None


def usage_chart(query: UsageQuery, view: View, by: GroupBy | None, request: HttpRequest) -> UsageChart:
    unit = unit_for(query.window)
    periods = split_into_periods(query.calendar, query.window, unit, param="end_date")
    layers = _layers_of(query, view, by, periods)
    lead = _leading(query, unit, periods, request)
    lines = (
        [_line(view, layer.name, layer.periods, lead(layer.filters)) for layer in layers.layers]
        if by is not None
        else list(_components(view, layers.periods, lead))
    )
    is_single_day, calendar, urls = len(periods) <= _HOURS_OF_ONE_DAY, query.calendar, lead({})
    names = [_name(calendar, unit, period, is_single_day=is_single_day) for period in periods]
    stacked = dict(STACKS)[by.value].lower() if by is not None else ""
    total = layers.total
    return UsageChart(
        chart=Chart(
            title=f"{dict(VIEWS)[view.value]} by {unit}" + (f", stacked by {stacked}" if stacked else ""),
            labels=[_label(calendar, unit, period, is_single_day=is_single_day) for period in periods],
            lines=lines,
            unit="usd" if view is View.COST else "count",
            urls=urls,
        ),
        total=_text(view, total),
        is_empty=not (total.requests or total.cost_usd or total.total_tokens),
        views=tuple((name, url_with(request, view=value), value == view) for value, name in VIEWS),
        stacks=tuple(
            (name, url_with(request, group_by=value), value == (by.value if by is not None else NOT_STACKED))
            for value, name in STACKS
        ),
        leads_to="the calls of that hour, most expensive first" if unit is Unit.HOUR else f"that {unit}",
        peak=_peak_of(layers, unit, names, urls),
    )


def _layers_of(query: UsageQuery, view: View, by: GroupBy | None, periods: Sequence[Span]) -> Layers:
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
    if by is GroupBy.TAG:  # an event counts in several layers
        return Layers(layers, totals(organization=query.organization, filters=query.filters, windows=periods))
    sums = [sum((layer.periods[index] for layer in layers), ZERO_FIGURES) for index in range(len(periods))]
    return Layers(layers, sums)


def _peak_of(layers: Layers, unit: Unit, names: Sequence[str], urls: Sequence[str]) -> Peak | None:
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
    return f"{'mostly' if cost * 2 > total else 'led by'} {largest.name} ({usd(cost)})"


def _leading(query: UsageQuery, unit: Unit, periods: Sequence[Span], request: HttpRequest) -> FilteredURLs:
    """Return the links of bars: an hour links to its calls (of the bar's color), a longer period to this page for that
    period."""
    if unit is Unit.HOUR:
        return urls_of_calls(query, periods)
    urls = [url_for_dates(request, *_days(query.calendar, period)) for period in periods]
    return lambda _: urls


def _components(view: View, figures: Sequence[Figures], lead: FilteredURLs) -> Iterator[Line]:
    """Yield the series of a view that is not stacked by a dimension."""
    if view is View.COST:
        yield _line(view, "Cost", figures, lead({}))
    elif view is View.TOKENS:
        yield Line.of_counts("Prompt", [period_figures.prompt_tokens for period_figures in figures], lead({}))
        yield Line.of_counts("Completion", [period_figures.completion_tokens for period_figures in figures], lead({}))
    else:
        succeeded, failed = lead({"status": Status.SUCCESS.value}), lead({"status": Status.FAILURE.value})
        yield Line.of_counts(
            "Succeeded", [period_figures.requests - period_figures.errors for period_figures in figures], succeeded
        )
        yield Line.of_counts("Failed", [period_figures.errors for period_figures in figures], failed)


def _line(view: View, name: str, figures: Sequence[Figures], urls: Sequence[str]) -> Line:
    return Line(
        name,
        [_value(view, period_figures) for period_figures in figures],
        [_text(view, period_figures) for period_figures in figures],
        urls,
    )


def _value(view: View, figures: Figures) -> float:
    if view is View.COST:
        return float(figures.cost_usd)
    return float(figures.requests if view is View.REQUESTS else figures.total_tokens)


def _text(view: View, figures: Figures) -> str:
    if view is View.COST:
        return usd(figures.cost_usd)
    if view is View.REQUESTS:
        failed = f" ({formatting.count(figures.errors)} failed)" if figures.errors else ""
        return formatting.count(figures.requests) + failed
    prompt, completion = formatting.count(figures.prompt_tokens), formatting.count(figures.completion_tokens)
    both = f" ({prompt} prompt, {completion} completion)" if figures.total_tokens else ""
    return formatting.count(figures.total_tokens) + both


def _days(calendar: Calendar, period: Span) -> tuple[date, date]:
    return calendar.date_of(period.start), calendar.date_of(period.end - _SECOND)


def _label(calendar: Calendar, unit: Unit, period: Span, *, is_single_day: bool) -> str:
    """Return the label of a bar."""
    start = period.start.astimezone(calendar.zone)
    if unit is Unit.HOUR:
        return f"{start:%H:%M}" if is_single_day else f"{start:%b %d} {start:%H:%M}"
    first, last = _days(calendar, period)
    if unit is Unit.DAY:
        return f"{first:%b %d}"
    return f"{first:%b %Y}" if unit is Unit.MONTH else f"{first:%b %d} to {last:%b %d}"


def _name(calendar: Calendar, unit: Unit, period: Span, *, is_single_day: bool) -> str:
    """Return the name of a period for sentences."""
    if unit is Unit.HOUR:
        return span_name(period, calendar, with_day=not is_single_day)
    if unit is Unit.DAY:
        return f"{_days(calendar, period)[0]:%A, %b %d}"
    return _label(calendar, unit, period, is_single_day=is_single_day)
