"""The headline figures of the usage page: spend of today, this week and this month against the limits that apply, and
the figures of the chosen period, each compared with the time before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.admin.components import formatting
from billing.admin.components.cards import Figure
from billing.admin.components.datetimes import LocalTimes
from billing.admin.dashboard.usage.limit_line import own_limits
from billing.admin.limits.limit_summary_card import LimitSummary, limit_summary
from billing.limits.pace import WeeklyPace
from billing.limits.status import percent_of
from billing.limits.types import LimitStatus
from billing.reports.usage.figures import Figures
from billing.reports.usage.totals import Comparison, Headline
from billing.types import LimitWindow
from costtrack.calendar import Unit
from costtrack.money import usd

_HUNDRED = Decimal(100)
_MANY_TIMES = 10
"""From here on a change is written as a multiple instead of a percentage."""
_NEVER = datetime.max.replace(tzinfo=UTC)
_PREVIOUS = "in the previous period"
_WINDOWS = {
    Unit.DAY: (LimitWindow.CALENDAR_DAY, LimitWindow.ROLLING_24H),
    Unit.WEEK: (LimitWindow.CALENDAR_WEEK, LimitWindow.ROLLING_7D),
    Unit.MONTH: (
        *(LimitWindow.CALENDAR_MONTH, LimitWindow.ROLLING_30D, LimitWindow.CALENDAR_QUARTER),
        *(LimitWindow.FIXED_PERIOD, LimitWindow.LIFETIME),
    ),
}
"""The windows of the limits that each figure is shown with."""


@dataclass(frozen=True, slots=True)
class SpendFigure:
    """Spend of today, this week or this month, with the limit of the organization that will be reached first."""

    figure: Figure
    limit: LimitSummary | None


def figures_of_spend(
    compared: Headline, statuses: Sequence[LimitStatus], pace: WeeklyPace | None, times: LocalTimes, *, is_all: bool
) -> list[SpendFigure]:
    """Return the figures. `is_all` is false if they are filtered; then nothing is forecast."""
    calendar, own = times.calendar, own_limits(statuses)
    rows = (
        (Unit.DAY, "Today", compared.today, "by this time yesterday", "midnight"),
        (Unit.WEEK, "This week", compared.week, "by this time last week", "the end of the week"),
        (Unit.MONTH, "This month", compared.month, "by this time last month", "the end of the month"),
    )
    shown = []
    for unit, name, comparison, before, end_name in rows:
        spent = comparison.figures
        notes: list[str] = [_spend_change(comparison, before)]
        if unit is Unit.MONTH and compared.last_month is not None:
            notes.append(f"{usd(compared.last_month.cost_usd)} in all of last month")
        if is_all:
            notes.append(_expected(spent, pace, times.now, calendar.period(unit, times.now).end, end_name))
        limits = [status for status in own if status.rule.window in _WINDOWS[unit]]
        first = min(limits, key=_reached_first, default=None)
        limit = limit_summary(first, times) if first is not None else None
        shown.append(SpendFigure(Figure(name, formatting.cost(spent.cost_usd, spent.unpriced_events), notes), limit))
    return shown


def _reached_first(status: LimitStatus) -> tuple[bool, datetime, Decimal]:
    """Order limits by when they are reached, and those that will not be reached by their spent share."""
    is_reached = status.evaluation.spent_usd >= status.rule.amount_usd
    return not is_reached, status.hit_at or _NEVER, -percent_of(status)


def _expected(spent: Figures, pace: WeeklyPace | None, now: datetime, end: datetime, end_name: str) -> str:
    if pace is None:
        return "Not enough history for a forecast"
    return f"About {usd_rounded(spent.cost_usd + pace.usd_until(end - now))} by {end_name}"


def usd_rounded(amount: Decimal) -> str:
    """Format an estimate, without cents from 100 US dollars on."""
    return f"${amount:,.0f}" if amount >= _HUNDRED else usd(round(amount, 2))


def figures_of_window(compared: Comparison) -> tuple[Figure, ...]:
    now = compared.figures
    failed = f"{formatting.count(now.errors)} failed"
    tokens = f"{formatting.count(now.prompt_tokens)} prompt, {formatting.count(now.completion_tokens)} completion"
    return (
        Figure("Cost", formatting.cost(now.cost_usd, now.unpriced_events), (_spend_change(compared, _PREVIOUS),)),
        Figure(
            "Requests", formatting.count(now.requests), (failed, _change_of_count(compared, lambda of: of.requests))
        ),
        Figure(
            "Tokens",
            formatting.compact(now.total_tokens),
            (tokens, _change_of_count(compared, lambda of: of.total_tokens)),
        ),
        Figure("Error rate", percent(now.error_rate), ("Share of failed requests", _change_of_rate(compared))),
    )


def percent(rate: float) -> str:
    """Format a rate from 0 to 1 as `1.25%`."""
    return f"{rate * 100:.2f}".rstrip("0").rstrip(".") + "%"


def _spend_change(compared: Comparison, period: str) -> SafeString:
    now, before = compared.figures.cost_usd, compared.before
    return _NOT_SHOWN if before is None else _change(now, before.cost_usd, usd(before.cost_usd), period)


def _change_of_count(compared: Comparison, number_of: Callable[[Figures], int]) -> SafeString:
    if compared.before is None:
        return _NOT_SHOWN
    now, before = number_of(compared.figures), number_of(compared.before)
    return _change(Decimal(now), Decimal(before), formatting.count(before), _PREVIOUS)


def _change_of_rate(compared: Comparison) -> SafeString:
    if compared.before is None:
        return _NOT_SHOWN
    now, before = Decimal(str(compared.figures.error_rate)), Decimal(str(compared.before.error_rate))
    points = f"{(now - before) * _HUNDRED:+.2f}".rstrip("0").rstrip(".")
    return _written(f"{points} points", now - before, f"vs. {percent(float(before))} {_PREVIOUS}")


def _change(now: Decimal, before: Decimal, previous: str, period: str) -> SafeString:
    """Return `+12% vs. $3.10 in the previous period`, or `17x vs. ...` for large changes. Without a positive amount
    before, there is neither."""
    compared = f"vs. {previous} {period}"
    if before <= 0:
        return _written("Up" if now > before else "", now - before, compared)
    if now >= _MANY_TIMES * before:
        return _written(f"{now / before:,.0f}x", now - before, compared)
    return _written(f"{(now - before) * _HUNDRED / before:+,.0f}%", now - before, compared)


def _written(change: str, difference: Decimal, compared: str) -> SafeString:
    """Render a change. Its icon and its text carry the same information without color."""
    icon = "trending_flat" if not difference else "trending_up" if difference > 0 else "trending_down"
    return _with_icon(icon, change if difference else "No change", compared)


def _with_icon(icon: str, text: str, compared: str) -> SafeString:
    return format_html(
        '<span class="ct-change"><span class="material-symbols-outlined" aria-hidden="true">{}</span>'
        "<span><b>{}</b> {}</span></span>",
        icon,
        text,
        compared,
    )


_NOT_SHOWN = _with_icon("visibility_off", "No comparison", "the previous period is outside your plan's history")
