"""The windows of limits: in which time spend counts, and when a calendar window begins again. Pure.

    window_span(LimitWindow.CALENDAR_WEEK, organization.calendar, now)

is the organization's week that contains `now`, from the first instant of its first day; at its end the limit resets.
"""

from datetime import datetime, timedelta

from billing.limits.types import NO_PERIOD, Period
from billing.types import LimitWindow
from costtrack.calendar import Calendar, Unit, Window
from costtrack.clock import MICROSECOND

ROLLING = {
    LimitWindow.ROLLING_24H: timedelta(hours=24),
    LimitWindow.ROLLING_7D: timedelta(days=7),
    LimitWindow.ROLLING_30D: timedelta(days=30),
}
"""The rolling windows, and how long spend counts in them."""
_UNITS = {LimitWindow.CALENDAR_DAY: Unit.DAY, LimitWindow.CALENDAR_WEEK: Unit.WEEK}
_MONTHS = {LimitWindow.CALENDAR_MONTH: 1, LimitWindow.CALENDAR_QUARTER: 3}


def window_span(window: LimitWindow, calendar: Calendar, now: datetime, period: Period = NO_PERIOD) -> Window:
    """Return the window that contains `now`. A rolling window excludes spend exactly as old as it is long."""
    if window is LimitWindow.LIFETIME:
        return Window(None, None)
    if window is LimitWindow.FIXED_PERIOD:
        return Window(period.start, period.end)
    if window in ROLLING:
        return Window(now - ROLLING[window] + MICROSECOND, None)
    if window in _MONTHS:
        return Window(*calendar.months(_MONTHS[window], now, first_day=period.month_day))
    return Window(*calendar.period(_UNITS[window], now))
