"""Views of the usage chart, and the periods of its window. Pure."""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from itertools import islice

from billing.reports.usage.figures import Figures
from costtrack.calendar import Calendar, Span, Unit
from costtrack.errors import InvalidError

MAX_PERIODS = 1_000

# The longest window for each default unit.
_UNITS = ((timedelta(days=2), Unit.HOUR), (timedelta(days=93), Unit.DAY), (timedelta(days=731), Unit.WEEK))


class View(StrEnum):
    """The view selector of the chart."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    COST = "cost"


RANK_BY: dict[View, Callable[[Figures], object]] = {
    View.REQUESTS: lambda figures: figures.requests,
    View.TOKENS: lambda figures: figures.total_tokens,
    View.COST: lambda figures: figures.cost_usd,
}
"""The figure that ranks series, by view."""


def unit_for(window: Span) -> Unit:
    return next((unit for longest, unit in _UNITS if window.end - window.start <= longest), Unit.MONTH)


def split_into_periods(calendar: Calendar, window: Span, unit: Unit, *, param: str) -> list[Span]:
    """Split the window into hours, days, weeks or months. Raises InvalidError with the parameter if there are too
    many."""
    periods = list(islice(calendar.periods(unit, window), MAX_PERIODS + 1))
    if len(periods) > MAX_PERIODS:
        raise InvalidError(
            f"{param}: more than {MAX_PERIODS} {unit}s. Choose a shorter range or a coarser granularity.", param=param
        )
    return periods
