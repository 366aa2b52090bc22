"""The usage page's chart: requests, tokens or costs over time, stacked by a dimension, with the limit, what is expected
until the end of the period, and the period before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate, islice

from django.http import HttpRequest

from billing.admin.components import formatting
from billing.admin.components.charts import Chart, Line, Overlay, Role
from billing.admin.components.datetimes import period_label, span_name
from billing.admin.components.percent_bar import share_of
from billing.admin.components.urls import url_with, urls_for_dates
from billing.admin.components.usage_form import STACKS, VIEWS
from billing.admin.dashboard.usage.call_urls import FilteredURLs, filters_for, urls_of_calls
from billing.admin.dashboard.usage.limit_line import LimitLine
from billing.admin.dashboard.usage.usage_page_form import CUMULATIVE, GRANULARITIES, UsagePageForm
from billing.limits.pace import WeeklyPace
from billing.reports.usage.breakdown import RANK_BY, View, series
from billing.reports.usage.figures import DIMENSIONS, ZERO_FIGURES, Figures, GroupBy, Series
from billing.reports.usage.query import UsageQuery, split_into_periods, unit_for
from billing.reports.usage.totals import totals
from billing.types import Status
from costtrack.calendar import Calendar, Span, Unit
from costtrack.date_text import short_day_text
from costtrack.money import ZERO, usd

_SECOND = timedelta(seconds=1)
_HOURS_OF_ONE_DAY = 25
_MAX_ITEMS = 8  # and one for all others; charts.js has nine colors
MAX_BARS = 800
MAX_GROUPS = 20
"""Maximum number of groups in the table below the chart, which has the same numbers."""
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
    """The layers of a chart; none if it is not stacked. `periods` are the sums of all layers, `groups` are what the
    layers were made of."""

    layers: Sequence[Layer]
    periods: Sequence[Figures]
    groups: Sequence[Series] = ()

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
class Timeline:
    """The periods of the chart: `periods` until the end of the query, and `bars` until the end of the week or month if
    the rest of it is forecast. `before` are the bars of the time before, aligned with them."""

    unit: Unit
    periods: Sequence[Span]
    bars: Sequence[Span]
    before: Sequence[Span]


@dataclass(frozen=True, slots=True)
class UsageChart:
    """`leads_to` describes the target of a bar's link. `groups` are the rows of the table below."""

    chart: Chart
    total: str
    is_empty: bool
    views: tuple[Tab, ...]
    granularities: tuple[Tab, ...]
    modes: tuple[Tab, ...]
    leads_to: str
    peak: Peak | None
    groups: Sequence[Series]
    note: str
    has_anomalies: bool

    @property
    def has_expected(self) -> bool:
        return any(overlay.role is Role.EXPECTED for overlay in self.chart.overlays)


def timeline(
    query: UsageQuery, form: UsagePageForm, whole: Span, before: Span | None, *, is_forecast: bool
) -> Timeline:
    """Return the periods of the chart. `whole` is the query's week or month until its end, `before` the one before. If
    the chosen granularity has too many periods, the form says so. Raises InvalidError if any has too many."""
    calendar = query.calendar
    if form.unit is not None and not _fits(calendar, whole, form.unit):
        form.add_error("granularity", f"The period is too long for a chart by {form.unit}.")
    unit = form.unit or unit_for(whole)
    periods = split_into_periods(calendar, query.window, unit, param="end_date")
    bars = split_into_periods(calendar, whole, unit, param="end_date") if is_forecast else periods
    ghosts = [] if before is None else split_into_periods(calendar, before, unit, param="end_date")
    return Timeline(unit, periods, bars, ghosts[: len(bars)])


def _fits(calendar: Calendar, span: Span, unit: Unit) -> bool:
    return len(list(islice(calendar.periods(unit, span), MAX_BARS + 1))) <= MAX_BARS


def usage_chart(
    query: UsageQuery,
    form: UsagePageForm,
    times: Timeline,
    request: HttpRequest,
    *,
    before: Sequence[Figures],
    pace: WeeklyPace | None,
    limit: LimitLine | None,
    unusual: Sequence[str] = (),
) -> UsageChart:
    """Return the chart. `before` are the figures of the time before, `pace` that of all spend: None if what is shown is
    not all of it. `unusual` are texts about the periods with unusual spend."""
    view, by, unit, calendar = form.view_shown, form.stacked_by, times.unit, query.calendar
    layers = _layers_of(query, view, by, times.periods)
    lead = _leading(query, unit, times.periods, request)
    urls = lead({})
    lines = (
        [_line(view, layer.name, layer.periods, lead(layer.filters), urls) for layer in layers.layers]
        if by is not None
        else list(_components(view, layers.periods, lead, urls))
    )
    overlays = [
        *_expected(times.bars, layers.periods, pace, query.now, is_cumulative=form.is_cumulative),
        *_previous(view, before, is_cumulative=form.is_cumulative),
    ]
    totals_of_bars = [_text(view, figures) for figures in layers.periods]
    if form.is_cumulative:
        elapsed = sum(period.start <= query.now for period in times.periods)
        lines = [_accumulated(view, line, elapsed) for line in lines]
        totals_of_bars = [_amount_text(view, value) for value in _sums(view, layers.periods)][:elapsed]
    highest = max((_value(view, figures) for figures in layers.periods), default=0.0)
    if form.is_cumulative:
        highest = _value(view, layers.total)
    note = ""
    if limit is not None and view is View.COST:
        if limit.is_drawn(highest):
            overlays.append(limit.overlay(len(times.bars)))
        else:
            note = f"{limit.name} is above the chart."
    if any(unusual):
        overlays.append(_marks(view, layers.periods, unusual))
    is_single_day = len(times.bars) <= _HOURS_OF_ONE_DAY and unit is Unit.HOUR
    names = [_name(calendar, unit, period, is_single_day=is_single_day) for period in times.periods]
    stacked = dict(STACKS)[by.value].lower() if by is not None else ""
    title = f"Cumulative {dict(VIEWS)[view.value].lower()}" if form.is_cumulative else dict(VIEWS)[view.value]
    total = layers.total
    return UsageChart(
        chart=Chart(
            title=f"{title} by {unit}" + (f" and {stacked}" if stacked else ""),
            labels=[period_label(calendar, unit, period, is_single_day=is_single_day) for period in times.bars],
            lines=lines,
            unit="usd" if view is View.COST else "count",
            urls=urls,
            is_stacked=by is not GroupBy.TAG,
            overlays=overlays,
            totals=totals_of_bars if len(lines) > 1 and by is not GroupBy.TAG else (),
        ),
        total=_text(view, total),
        is_empty=not (total.requests or total.cost_usd or total.total_tokens or total.unpriced_events),
        views=tuple((name, url_with(request, view=value), value == view) for value, name in VIEWS),
        granularities=tuple(
            (name, url_with(request, granularity=value), value == (form.unit or "")) for value, name in GRANULARITIES
        ),
        modes=tuple(
            (name, url_with(request, cumulative=value), (value == CUMULATIVE) is form.is_cumulative)
            for value, name in (("", "Per period"), (CUMULATIVE, "Cumulative"))
        ),
        leads_to="the calls of that hour, most expensive first" if unit is Unit.HOUR else f"that {unit}",
        peak=_peak_of(layers, unit, names, urls),
        groups=layers.groups,
        note=note,
        has_anomalies=any(unusual),
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
        limit=MAX_GROUPS,
    )
    layers = [
        Layer(entry.name or WITHOUT[by], filters_for(by, entry.key), entry.periods, is_single=entry.key is not None)
        for entry in entries
    ]
    if by is GroupBy.TAG:  # an event counts in several layers
        sums = totals(organization=query.organization, filters=query.filters, windows=periods)
    else:
        sums = [_sum_at(layers, index) for index in range(len(periods))]
    if len(layers) > _MAX_ITEMS + 1:
        others = layers[_MAX_ITEMS:]
        merged = [_sum_at(others, index) for index in range(len(periods))]
        layers = [*layers[:_MAX_ITEMS], Layer("Others", {}, merged, is_single=False)]
    return Layers(layers, sums, entries)


def _sum_at(layers: Sequence[Layer], index: int) -> Figures:
    return sum((layer.periods[index] for layer in layers), ZERO_FIGURES)


def _expected(
    bars: Sequence[Span],
    periods: Sequence[Figures],
    pace: WeeklyPace | None,
    now: datetime,
    *,
    is_cumulative: bool,
) -> Iterator[Overlay]:
    """Yield the expected rest of the period, on top of what is spent."""
    if pace is None or not bars or bars[-1].end <= now:
        return
    amounts = [
        pace.usd_between(max(bar.start - now, timedelta()), bar.end - now) if bar.end > now else ZERO for bar in bars
    ]
    spent = [figures.cost_usd for figures in periods] + [ZERO] * (len(bars) - len(periods))
    texts = [usd(amount) for amount in amounts]
    if is_cumulative:
        running_spend, running = list(accumulate(spent)), list(accumulate(amounts))
        amounts = [
            expected if bar.start <= now else total + expected
            for bar, total, expected in zip(bars, running_spend, running, strict=True)
        ]
        texts = [usd(total + expected) for total, expected in zip(running_spend, running, strict=True)]
    yield Overlay(
        "Expected",
        Role.EXPECTED,
        [float(amount) if bar.end > now else None for amount, bar in zip(amounts, bars, strict=True)],
        [text if bar.end > now else "" for text, bar in zip(texts, bars, strict=True)],
    )


def _previous(view: View, before: Sequence[Figures], *, is_cumulative: bool) -> Iterator[Overlay]:
    if not any(_value(view, figures) for figures in before):
        return
    values, texts = [_value(view, figures) for figures in before], [_text(view, figures) for figures in before]
    if is_cumulative:
        values = _sums(view, before)
        texts = [_amount_text(view, value) for value in values]
    yield Overlay("Previous period", Role.PREVIOUS, values, texts)


def _marks(view: View, periods: Sequence[Figures], unusual: Sequence[str]) -> Overlay:
    """Return marks at the upper ends of bars."""
    values = [_value(view, figures) if text else None for figures, text in zip(periods, unusual, strict=True)]
    return Overlay("Unusual", Role.ANOMALY, values, unusual)


def _accumulated(view: View, line: Line, elapsed: int) -> Line:
    """Return the running sums of a line until now."""
    values = list(accumulate(value or 0.0 for value in line.values))[:elapsed]
    return Line(line.name, values, [_amount_text(view, value) for value in values], line.urls)


def _sums(view: View, periods: Sequence[Figures]) -> list[float]:
    return list(accumulate(_value(view, figures) for figures in periods))


def _amount_text(view: View, value: float) -> str:
    return usd(Decimal(repr(value))) if view is View.COST else formatting.count(round(value))


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
    urls = urls_for_dates(request, (_days(query.calendar, period) for period in periods))
    return lambda _: urls


def _components(view: View, figures: Sequence[Figures], lead: FilteredURLs, urls: Sequence[str]) -> Iterator[Line]:
    """Yield the series of a view that is not stacked by a dimension."""
    if view is View.COST:
        yield _line(view, "Cost", figures, urls, urls)
    elif view is View.TOKENS:
        yield Line.of_counts("Prompt", [period_figures.prompt_tokens for period_figures in figures])
        yield Line.of_counts("Completion", [period_figures.completion_tokens for period_figures in figures])
    else:
        succeeded, failed = lead({"status": Status.SUCCESS.value}), lead({"status": Status.FAILURE.value})
        yield Line.of_counts(
            "Succeeded", [period_figures.requests - period_figures.errors for period_figures in figures], succeeded
        )
        yield Line.of_counts("Failed", [period_figures.errors for period_figures in figures], failed)


def _line(view: View, name: str, figures: Sequence[Figures], urls: Sequence[str], urls_of_chart: Sequence[str]) -> Line:
    return Line(
        name,
        [_value(view, period_figures) for period_figures in figures],
        [_text(view, period_figures) for period_figures in figures],
        () if urls is urls_of_chart else urls,
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


def _name(calendar: Calendar, unit: Unit, period: Span, *, is_single_day: bool) -> str:
    """Return the name of a period for sentences."""
    if unit is Unit.HOUR:
        return span_name(period, calendar, with_day=not is_single_day)
    if unit is Unit.DAY:
        day = _days(calendar, period)[0]
        return f"{day:%A}, {short_day_text(day)}"
    return period_label(calendar, unit, period, is_single_day=is_single_day)
