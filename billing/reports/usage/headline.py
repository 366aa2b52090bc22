"""What is spent now, and what a window adds up to, each beside what was before it (document 001). Read-only."""

from dataclasses import dataclass
from datetime import timedelta

from billing.reports.usage.figures import Figures
from billing.reports.usage.query import UsageQuery
from billing.reports.usage.series import totals, windows_of_spend
from costtrack.calendar import Span

_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Compared:
    """`before` is None where the plan does not show all of it."""

    figures: Figures
    before: Figures | None


@dataclass(frozen=True, slots=True)
class Headline:
    """The question's window; today, the last seven days and this month until now. All of the same filter and of one
    moment."""

    window: Compared
    today: Compared
    week: Compared
    month: Compared


def headline(query: UsageQuery) -> Headline:
    today, week, month = windows_of_spend(query.organization, query.now)
    windows = [query.window, today, week, month]
    earlier = [query.before, query.had_usage_before(today), _week_before(query, week), query.had_usage_before(month)]
    known = [window for window in earlier if window is not None]
    found = totals(organization=query.organization, filters=query.filters, windows=[*windows, *known])
    before = iter(found[len(windows) :])
    compared = [
        Compared(figures, next(before) if window is not None else None)
        for figures, window in zip(found, earlier, strict=False)
    ]
    return Headline(*compared)


def _week_before(query: UsageQuery, week: Span) -> Span | None:
    """The seven days that end where the last seven days begin."""
    since, start = query.shown.history_start, week.start - _WEEK
    return None if since is not None and start < since else Span(start, week.start)
