"""A question about usage as it is understood: a filter, and a span of time in the organization's time zone.

Dates are whole days there, the last one included; times are exact, the end included to the microsecond. What the plan
does not show is cut off (`billing.reports.usage.history`).
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from billing.reports.usage.figures import UsageFilter
from billing.reports.usage.history import Shown, history_start, shown
from billing.types import Status
from costtrack.calendar import Calendar, Preset, Span
from costtrack.errors import InvalidError
from organizations.models import Organization

CUSTOM = "custom"
DEFAULT_RANGE = Preset.DAYS_30

# Other words for the same.
RANGES = {"day": Preset.TODAY, "month_to_date": Preset.MONTH}
STATUSES = {"error": Status.FAILURE.value}

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """`others` are parameters that only the one who asks knows."""

    organization: Organization
    filters: UsageFilter
    shown: Shown
    now: datetime
    others: dict[str, Any] = field(default_factory=dict)

    @property
    def window(self) -> Span:
        return self.shown.window

    @property
    def calendar(self) -> Calendar:
        return self.organization.calendar

    @property
    def before(self) -> Span | None:
        """What the window is compared with. None: the plan does not show all of it."""
        return None if self.shown.is_clipped else self.had_usage_before(self.window)

    def had_usage_before(self, window: Span) -> Span | None:
        """As much time before a window; of one that has not ended, as much as has gone by. None: the plan does not show
        all of it."""
        before, since = self.calendar.before(window), self.shown.history_start
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
    sees_everything: bool,
    others: dict[str, Any] | None = None,
) -> UsageQuery:
    """What the plan shows of a window; `sees_everything` is for operators, whom no plan limits. Raises ForbiddenError
    for a window of which the plan shows nothing."""
    since = None if sees_everything else history_start(organization=organization, now=now)
    return UsageQuery(
        organization, filters, shown(organization=organization, window=window, since=since), now, others or {}
    )


def window_of(
    calendar: Calendar, *, name: str, start: date | datetime | None, end: date | datetime | None, now: datetime
) -> Span:
    """The span of a range's name (one of `Preset` or `RANGES`; empty: the default) or, if there is a start, from there
    on until the end or the end of today. Raises InvalidError when it ends before it begins."""
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
