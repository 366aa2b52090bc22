"""The limit of the organization that a chart of costs shows as a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.admin.components.charts import Overlay, Role
from billing.admin.limits.limit_text import PER
from billing.limits.types import LimitStatus
from billing.types import LimitScope, LimitUnit, LimitWindow
from costtrack.calendar import Calendar, Span, Unit
from costtrack.clock import DAY
from costtrack.money import usd

_UNIT_OF = {
    LimitWindow.CALENDAR_DAY: Unit.DAY,
    LimitWindow.CALENDAR_WEEK: Unit.WEEK,
    LimitWindow.CALENDAR_MONTH: Unit.MONTH,
}
_DAYS_OF = {
    LimitWindow.CALENDAR_DAY: 1,
    LimitWindow.ROLLING_24H: 1,
    LimitWindow.CALENDAR_WEEK: 7,
    LimitWindow.ROLLING_7D: 7,
    LimitWindow.ROLLING_30D: 30,
}
_MAX_OF_HIGHEST = 4
"""A line that is higher than so many times the highest bar would flatten the bars; a text replaces it."""


@dataclass(frozen=True, slots=True)
class LimitLine:
    name: str
    amount_usd: Decimal

    def is_drawn(self, highest: float) -> bool:
        return float(self.amount_usd) <= highest * _MAX_OF_HIGHEST

    def overlay(self, bars: int) -> Overlay:
        amount = float(self.amount_usd)
        return Overlay(self.name, Role.LIMIT, [amount] * bars, [usd(self.amount_usd)] * bars)


def own_limits(statuses: Sequence[LimitStatus]) -> list[LimitStatus]:
    """Return the organization's own limits in US dollars."""
    return [
        status
        for status in statuses
        if status.rule.scope is LimitScope.ORGANIZATION
        and not status.rule.further
        and status.rule.unit is LimitUnit.USD
    ]


def limit_line(
    statuses: Sequence[LimitStatus], calendar: Calendar, whole: Span, unit: Unit, *, is_cumulative: bool
) -> LimitLine | None:
    """Return the line: a limit for each bar, or for all of them if they are cumulative; otherwise the average per bar
    of a limit for a longer time. `whole` is what the chart shows."""
    windows = {status.rule.window: status.rule.amount_usd for status in own_limits(statuses)}
    for window, unit_of_window in _UNIT_OF.items():
        is_met = calendar.period(unit_of_window, whole.start) == whole if is_cumulative else unit_of_window is unit
        if window in windows and is_met:
            return LimitLine(f"Limit of {usd(windows[window])} for {PER[window]}", windows[window])
    if is_cumulative or unit is Unit.HOUR:
        return None
    bar = calendar.period(unit, whole.start)
    days = {**_DAYS_OF, LimitWindow.CALENDAR_MONTH: _days(calendar.period(Unit.MONTH, whole.start))}
    for window, number in sorted(days.items(), key=lambda item: item[1]):
        if window in windows and number > _days(bar):
            share = windows[window] * _days(bar) / number
            return LimitLine(f"{usd(share)} a {unit}, to stay within {usd(windows[window])} for {PER[window]}", share)
    return None


def _days(span: Span) -> int:
    return round((span.end - span.start) / DAY)
