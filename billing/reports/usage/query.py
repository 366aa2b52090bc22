"""A usage query: filters, a time span in the time zone of the organization, clipped to the history of its plan, and the
division into periods.

Windows are half-open. History that the plan does not show is cut off; the ledger still has it.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from billing.pricing.price_book import identify_model
from billing.reports.usage.figures import UsageFilter
from billing.types import Status
from costtrack.calendar import Calendar, Preset, Span, Unit
from costtrack.errors import InvalidError
from organizations.models import Organization
from organizations.plan_rights import PlanRights, plan_history_error

CUSTOM = "custom"
DEFAULT_RANGE = Preset.DAYS_30

# Aliases.
RANGES = {"day": Preset.TODAY, "month_to_date": Preset.MONTH}
STATUSES = {"error": Status.FAILURE.value}


@dataclass(frozen=True, slots=True)
class VisibleWindow:
    """The visible part of a window, and since when usage is visible (None means always)."""

    window: Span
    history_start: datetime | None
    is_clipped: bool


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
        before = self.if_visible(self.calendar.before(window))
        return None if before is None else self.until_same_time(before, window)

    def until_same_time(self, before: Span, window: Span) -> Span:
        """Return the span before a window; for a window that has not ended, as much of it as has elapsed."""
        if self.now >= window.end:
            return before
        gone = max(self.now - window.start, timedelta())
        return Span(before.start, min(before.start + gone, before.end))

    def if_visible(self, span: Span) -> Span | None:
        """Return the span; None if the plan does not show all of it."""
        since = self.visible.history_start
        return None if since is not None and span.start < since else span


def build_query(
    *,
    organization: Organization,
    filters: UsageFilter,
    window: Span,
    now: datetime,
    rights: PlanRights,
    extra: dict[str, Any] | None = None,
) -> UsageQuery:
    """Build a query, clipped to the history of the plan. Raises ForbiddenError if nothing of the window is visible."""
    filters = replace(
        filters,
        model=identify_model(organization.pk, filters.model, now=now),
        user_id=organization.user_name(filters.user_id),
    )
    since = rights.history_start(now)
    return UsageQuery(
        organization, filters, clip_to_history(organization=organization, window=window, since=since), now, extra or {}
    )


def window_of(calendar: Calendar, *, name: str, start: datetime | None, end: datetime | None, now: datetime) -> Span:
    """Return the span of a named range (`Preset` or `RANGES`; empty means the default) or, with a start, from there
    until the end or the end of today. Raises InvalidError if it is empty."""
    if start is None:
        return calendar.preset(Preset(RANGES.get(name, name or DEFAULT_RANGE)), now)
    last = end if end is not None else calendar.preset(Preset.TODAY, now).end
    if last <= start:
        param = "end_date" if end is not None else "start_date"
        raise InvalidError(f"{param}: the range must end after it begins.", param=param)
    return Span(start, last)


def clip_to_history(*, organization: Organization, window: Span, since: datetime | None) -> VisibleWindow:
    """Clip a window to `since`. Raises ForbiddenError if nothing of it is visible."""
    if since is None or window.start >= since:
        return VisibleWindow(window, since, is_clipped=False)
    if window.end <= since:
        raise plan_history_error(organization, window.start, since)
    return VisibleWindow(Span(since, window.end), since, is_clipped=True)


MAX_PERIODS = 1_000

# The longest window for each default unit.
_UNITS = ((timedelta(days=2), Unit.HOUR), (timedelta(days=93), Unit.DAY), (timedelta(days=731), Unit.WEEK))


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
