"""The usage page's chart: requests, tokens or costs over time, stacked by model, capability, credential or status."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.http import HttpRequest

from billing.admin.components import formatting
from billing.admin.components.charts import Chart, Line
from billing.admin.components.local_times import name_of
from billing.admin.components.urls import url_for_dates, url_with
from billing.admin.components.usage_form import NOT_STACKED, STACKS, VIEWS
from billing.admin.dashboard.request_log.request_log_urls import FilteredURLs, urls_of_calls
from billing.admin.dashboard.usage.usage_peak import Peak, peak_of
from billing.admin.dashboard.usage.usage_series import layers_of
from billing.reports.usage.breakdown import View
from billing.reports.usage.figures import Figures, GroupBy
from billing.reports.usage.query import UsageQuery, split_into_periods, unit_for
from billing.types import Status
from costtrack.calendar import Calendar, Span, Unit
from costtrack.money import usd

_SECOND = timedelta(seconds=1)
_HOURS_OF_ONE_DAY = 25


@dataclass(frozen=True, slots=True)
class Tab:
    name: str
    url: str
    is_chosen: bool


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
    layers = layers_of(query, view, by, periods)
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
            title=f"{dict(VIEWS)[view.value]} by the {unit}" + (f", stacked by {stacked}" if stacked else ""),
            labels=[_label(calendar, unit, period, is_single_day=is_single_day) for period in periods],
            lines=lines,
            unit="usd" if view is View.COST else "count",
            urls=urls,
        ),
        total=_text(view, total),
        is_empty=not (total.requests or total.cost_usd or total.total_tokens),
        views=tuple(Tab(name, url_with(request, view=value), value == view) for value, name in VIEWS),
        stacks=tuple(
            Tab(name, url_with(request, group_by=value), value == (by.value if by is not None else NOT_STACKED))
            for value, name in STACKS
        ),
        leads_to="the calls of that hour, most expensive first" if unit is Unit.HOUR else f"that {unit}",
        peak=peak_of(layers, unit, names, urls),
    )


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
        yield _counted("Prompt", [period_figures.prompt_tokens for period_figures in figures], lead({}))
        yield _counted("Completion", [period_figures.completion_tokens for period_figures in figures], lead({}))
    else:
        succeeded, failed = lead({"status": Status.SUCCESS.value}), lead({"status": Status.FAILURE.value})
        yield _counted(
            "Succeeded", [period_figures.requests - period_figures.errors for period_figures in figures], succeeded
        )
        yield _counted("Failed", [period_figures.errors for period_figures in figures], failed)


def _line(view: View, name: str, figures: Sequence[Figures], urls: Sequence[str]) -> Line:
    return Line(
        name,
        [_value(view, period_figures) for period_figures in figures],
        [_text(view, period_figures) for period_figures in figures],
        urls,
    )


def _counted(name: str, numbers: Sequence[int], urls: Sequence[str]) -> Line:
    return Line(name, [float(number) for number in numbers], [formatting.count(number) for number in numbers], urls)


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
        return name_of(period, calendar, with_day=not is_single_day)
    if unit is Unit.DAY:
        return f"{_days(calendar, period)[0]:%A, %b %d}"
    return _label(calendar, unit, period, is_single_day=is_single_day)
