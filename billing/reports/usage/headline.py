"""Current spend and the totals of a window, each compared with the time before (document 001). Read-only."""

from dataclasses import dataclass
from datetime import timedelta

from billing.reports.usage.figures import Figures
from billing.reports.usage.query import UsageQuery
from billing.reports.usage.series import spend_windows, totals
from costtrack.calendar import Span

_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures and those of the time before, None if the plan does not show all of it."""

    figures: Figures
    before: Figures | None


@dataclass(frozen=True, slots=True)
class Headline:
    """The window of the query, today, the last seven days and this month, with the same filter and from one
    snapshot."""

    window: Comparison
    today: Comparison
    week: Comparison
    month: Comparison


def headline(query: UsageQuery) -> Headline:
    today, week, month = spend_windows(query.organization, query.now)
    windows = [query.window, today, week, month]
    earlier = [query.before, query.window_before(today), _week_before(query, week), query.window_before(month)]
    known = [window for window in earlier if window is not None]
    figures_by_window = totals(organization=query.organization, filters=query.filters, windows=[*windows, *known])
    before = iter(figures_by_window[len(windows) :])
    compared = [
        Comparison(figures, next(before) if window is not None else None)
        for figures, window in zip(figures_by_window, earlier, strict=False)
    ]
    return Headline(*compared)


def _week_before(query: UsageQuery, week: Span) -> Span | None:
    """Return the seven days before the last seven days."""
    since, start = query.visible.history_start, week.start - _WEEK
    return None if since is not None and start < since else Span(start, week.start)
