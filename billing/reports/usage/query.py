"""A usage query: filters and a time span in the time zone of the organization.

Dates are whole days, including the last one; times are exact, with an inclusive end. History that the plan does not
show is cut off (`billing.reports.usage.history`).
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.history import VisibleWindow, clip_to_history, history_start
from billing.types import Status
from costtrack.calendar import Calendar, Preset, Span
from costtrack.errors import InvalidError
from organizations.models import Organization

CUSTOM = "custom"
DEFAULT_RANGE = Preset.DAYS_30

# Aliases.
RANGES = {"day": Preset.TODAY, "month_to_date": Preset.MONTH}
STATUSES = {"error": Status.FAILURE.value}

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """A validated usage query. `extra` has parameters that only the endpoint knows."""

    organization: Organization
    filters: UsageFilter
    visible: VisibleWindow
    now: datetime
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def window(self) -> Span:
        return self.visible.window

    @property
    def calendar(self) -> Calendar:
        return self.organization.calendar

    @property
    def before(self) -> Span | None:
        """The time before the window, for comparison, or None if the plan does not show all of it."""
        return None if self.visible.is_clipped else self.window_before(self.window)

    def window_before(self, window: Span) -> Span | None:
        """Return the equally long time before a window; for a window that has not ended, as much as has elapsed.
        None if the plan does not show all of it."""
        before, since = self.calendar.before(window), self.visible.history_start
        if since is not None and before.start < since:
            return None
        if self.now >= window.end:
            return before
        gone = max(self.now - window.start, timedelta())
        return Span(before.start, min(before.start + gone, before.end))


def build_query(
    *,
    organization: Organization,
    filters: UsageFilter,
    window: Span,
    now: datetime,
    has_full_history: bool,
    extra: dict[str, Any] | None = None,
) -> UsageQuery:
    """Build a query, clipped to the history of the plan. `has_full_history` is for operators, who have no plan
    limit. Raises ForbiddenError if nothing of the window is visible."""
    since = None if has_full_history else history_start(organization=organization, now=now)
    return UsageQuery(
        organization, filters, clip_to_history(organization=organization, window=window, since=since), now, extra or {}
    )


def window_of(
    calendar: Calendar, *, name: str, start: date | datetime | None, end: date | datetime | None, now: datetime
) -> Span:
    """Return the span of a named range (`Preset` or `RANGES`; empty means the default) or, with a start, from there
    until the end or the end of today. Raises InvalidError if it ends before it begins."""
    if start is None:
        return calendar.preset(Preset(RANGES.get(name, name or DEFAULT_RANGE)), now)
    first = start if isinstance(start, datetime) else calendar.start_of(start)
    last = _end(calendar, end) if end is not None else max(calendar.preset(Preset.TODAY, now).end, first)
    if last <= first:
        param = "end_date" if end is not None else "start_date"
        raise InvalidError(f"{param}: the range ends before it begins.", param=param)
    return Span(first.astimezone(UTC), last)


def _end(calendar: Calendar, end: date | datetime) -> datetime:
    if isinstance(end, datetime):
        return end + _TICK
    return calendar.start_of(end + timedelta(days=1))
