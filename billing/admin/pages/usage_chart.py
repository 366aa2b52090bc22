"""The usage page's chart: requests, tokens or costs over time, stacked by what they are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta

from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode

from billing.admin import formats
from billing.admin.pages.addresses import address, address_of_days
from billing.admin.pages.charts import Chart, Line
from billing.admin.pages.usage_form import NOT_STACKED, STACKS, VIEWS
from billing.reports.usage.asked import Asked
from billing.reports.usage.breakdown import series
from billing.reports.usage.figures import NOTHING, Figures, GroupBy
from billing.reports.usage.periods import LARGEST, View, periods_of, unit_for
from billing.reports.usage.series import totals
from costtrack.calendar import Calendar, Span, Unit
from costtrack.money import usd

_MOST_LINES = 8  # and one for all others: so many colors there are
_SECOND = timedelta(seconds=1)
WITHOUT = {
    GroupBy.MODEL: "Without a model",
    GroupBy.CAPABILITY: "Without a capability",
    GroupBy.CREDENTIAL: "Without a credential",
    GroupBy.STATUS: "Without a status",
}


@dataclass(frozen=True, slots=True)
class Tab:
    name: str
    url: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class UsageChart:
    """`leads_to` says what a bar leads to."""

    chart: Chart
    total: str
    is_empty: bool
    views: tuple[Tab, ...]
    stacks: tuple[Tab, ...]
    leads_to: str


def usage_chart(asked: Asked, view: View, by: GroupBy | None, request: HttpRequest) -> UsageChart:
    unit = unit_for(asked.window)
    periods = periods_of(asked.calendar, asked.window, unit, param="end_date")
    urls = [_url(asked, unit, period, request) for period in periods]
    lines, total = _lines(asked, view, by, periods, urls)
    stacked = dict(STACKS)[by.value].lower() if by is not None else ""
    return UsageChart(
        chart=Chart(
            title=f"{dict(VIEWS)[view.value]} by the {unit}" + (f", stacked by {stacked}" if stacked else ""),
            labels=[_label(asked.calendar, unit, period, is_one_day=len(periods) <= 25) for period in periods],  # noqa: PLR2004 - hours
            lines=lines,
            unit="usd" if view is View.COST else "count",
        ),
        total=_text(view, total),
        is_empty=not (total.requests or total.cost_usd or total.total_tokens),
        views=tuple(Tab(name, address(request, view=value), value == view) for value, name in VIEWS),
        stacks=tuple(
            Tab(name, address(request, group_by=value), value == (by.value if by is not None else NOT_STACKED))
            for value, name in STACKS
        ),
        leads_to="the events of that hour" if unit is Unit.HOUR else f"that {unit} alone",
    )


def _lines(
    asked: Asked, view: View, by: GroupBy | None, periods: Sequence[Span], urls: Sequence[str]
) -> tuple[list[Line], Figures]:
    if by is None:
        figures = totals(organization=asked.organization, wanted=asked.wanted, windows=periods)
        return _parts(view, figures, urls), sum(figures, NOTHING)
    found = series(
        organization=asked.organization,
        wanted=asked.wanted,
        windows=periods,
        by=by,
        largest=LARGEST[view],
        most=_MOST_LINES,
    )
    lines = [
        Line(
            one.name or WITHOUT[by],
            [_value(view, figures) for figures in one.periods],
            [_text(view, figures) for figures in one.periods],
            urls,
        )
        for one in found
    ]
    return lines, sum((one.total for one in found), NOTHING)


def _parts(view: View, figures: Sequence[Figures], urls: Sequence[str]) -> list[Line]:
    """What the figures of a view consist of."""
    if view is View.COST:
        return [Line("Cost", [float(one.cost_usd) for one in figures], [usd(one.cost_usd) for one in figures], urls)]
    if view is View.TOKENS:
        return [
            _counted("Prompt", [one.prompt_tokens for one in figures], urls),
            _counted("Completion", [one.completion_tokens for one in figures], urls),
        ]
    return [
        _counted("Succeeded", [one.requests - one.errors for one in figures], urls),
        _counted("Failed", [one.errors for one in figures], urls),
    ]


def _counted(name: str, numbers: Sequence[int], urls: Sequence[str]) -> Line:
    return Line(name, [float(number) for number in numbers], [formats.count(number) for number in numbers], urls)


def _value(view: View, figures: Figures) -> float:
    if view is View.COST:
        return float(figures.cost_usd)
    return float(figures.requests if view is View.REQUESTS else figures.total_tokens)


def _text(view: View, figures: Figures) -> str:
    if view is View.COST:
        return usd(figures.cost_usd)
    if view is View.REQUESTS:
        failed = f" ({formats.count(figures.errors)} failed)" if figures.errors else ""
        return formats.count(figures.requests) + failed
    prompt, completion = formats.count(figures.prompt_tokens), formats.count(figures.completion_tokens)
    both = f" ({prompt} prompt, {completion} completion)" if figures.total_tokens else ""
    return formats.count(figures.total_tokens) + both


def _url(asked: Asked, unit: Unit, period: Span, request: HttpRequest) -> str:
    if unit is not Unit.HOUR:
        return address_of_days(request, *_days(asked.calendar, period))
    wanted = {"model": asked.wanted.model, "status": asked.wanted.status}
    query = {"hour": f"{period.start.astimezone(UTC):%Y-%m-%dT%H:%M}", **{name: v for name, v in wanted.items() if v}}
    return f"{reverse('admin:billing_usageevent_changelist')}?{urlencode(query)}"


def _days(calendar: Calendar, period: Span) -> tuple[date, date]:
    return calendar.date_of(period.start), calendar.date_of(period.end - _SECOND)


def _label(calendar: Calendar, unit: Unit, period: Span, *, is_one_day: bool) -> str:
    start = period.start.astimezone(calendar.zone)
    if unit is Unit.HOUR:
        return f"{start:%H:%M}" if is_one_day else f"{start:%b %d} {start:%H:%M}"
    first, last = _days(calendar, period)
    if unit is Unit.DAY:
        return f"{first:%b %d}"
    return f"{first:%b %Y}" if unit is Unit.MONTH else f"{first:%b %d} to {last:%b %d}"
