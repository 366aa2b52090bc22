"""What a chart of usage shows, and into which periods its window is cut. Pure."""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from itertools import islice

from billing.reports.usage.figures import Figures
from costtrack.calendar import Calendar, Span, Unit
from costtrack.errors import InvalidError

MAX_PERIODS = 1_000

# Up to how long a window is shown by the hour, by the day and so on, unless something else is asked for.
_UNITS = ((timedelta(days=2), Unit.HOUR), (timedelta(days=93), Unit.DAY), (timedelta(days=731), Unit.WEEK))


class View(StrEnum):
    """The selector above the chart."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    COST = "cost"


LARGEST: dict[View, Callable[[Figures], object]] = {
    View.REQUESTS: lambda figures: figures.requests,
    View.TOKENS: lambda figures: figures.total_tokens,
    View.COST: lambda figures: figures.cost_usd,
}
"""By which of its figures a line is large."""


def unit_for(window: Span) -> Unit:
    return next((unit for longest, unit in _UNITS if window.end - window.start <= longest), Unit.MONTH)


def periods_of(calendar: Calendar, window: Span, unit: Unit, *, param: str) -> list[Span]:
    """The window cut into hours, days, weeks or months. Raises InvalidError, naming the parameter, when there are too
    many."""
    found = list(islice(calendar.periods(unit, window), MAX_PERIODS + 1))
    if len(found) > MAX_PERIODS:
        raise InvalidError(f"{param}: more than {MAX_PERIODS} {unit}s; ask for less.", param=param)
    return found
