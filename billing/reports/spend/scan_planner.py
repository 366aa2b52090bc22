"""Decide from rollups which days of the ledger to read for a filter, and how many calls there are (document 004)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from billing.reports.buckets import DAY
from billing.reports.spend.log_types import LogFilter, Order, TooMuchToReadError
from billing.reports.spend.sums import SumQuery, run_queries
from billing.reports.types import Window
from billing.rollups.definitions import CUSTOMER_DAYS, MODEL_DAYS, ORGANIZATION_HOURS, SPEND_DAYS, USAGE_DAYS, Rollup
from organizations.models import Organization

MAX_READ = 500_000
"""The most calls that are read to find the rows of a filter."""
MAX_SCANNED = 200_000
"""The most calls that are read one by one where no rollup and no index helps."""

# Rollup dimensions by the names of filters.
_COLUMNS = {
    "credentials": "credential_id",
    "user": "user_ref",
    "end_user": "end_user",
    "model": "model",
    "status": "status",
}
_UNKNOWN_TO_ROLLUPS = ("status_code", "team", "deployment", "min_cost", "max_cost")


@dataclass(frozen=True, slots=True)
class Reading:
    """Spans of a window to read, with about `calls` calls. `is_cut` is True if the limit of one request left out
    some."""

    spans: list[Window]
    calls: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Days:
    """The days of a window with matching rows: the number of matching calls and of all calls. None means any day."""

    window: Window
    calls: Mapping[date, tuple[int, int]] | None

    def to_read(self, *, enough: int, oldest: bool) -> Reading:
        """Return the newest (or oldest) days with at least `enough` rows, if there are that many."""
        if self.calls is None:
            return Reading([self.window], 0, is_cut=False)
        left, to_read, is_cut = enough, 0, False
        days: list[date] = []
        for day in sorted(self.calls, reverse=not oldest):
            matching, calls = self.calls[day]
            is_cut = left > 0 and to_read + calls > MAX_READ and bool(days)
            if left <= 0 or is_cut:
                break
            days.append(day)
            to_read += calls
            # If the window cuts a day, the number of its rows in the window is unknown.
            left -= matching if _is_inside(day, self.window) else 0
        return Reading(list(_merged(days, self.window)), to_read, is_cut)


def days_of(organization: Organization, filters: LogFilter) -> Days:
    """Return the days with matching calls, for filters that a rollup knows."""
    rollup, only = _best_rollup(filters)
    if not only:
        return Days(filters.window, None)
    whole_days = _extend_to_days(filters.window)
    matching, everything = run_queries(
        organization,
        SumQuery(rollup, ("day",), whole_days, only, undropped_only=True),
        SumQuery(MODEL_DAYS, ("day",), whole_days, undropped_only=True),
    )
    calls = {sums.key: sums.requests for sums in everything}
    days = {date.fromisoformat(sums.key[0]): (sums.requests, calls.get(sums.key, 0)) for sums in matching}
    return Days(filters.window, days)


def spans_to_scan(organization: Organization, filters: LogFilter, order: Order) -> list[Window] | None:
    """Return the spans that must be read completely for this order or filter, or None if rollups and the time index
    suffice. Raises TooMuchToReadError."""
    rollup, only = _best_rollup(filters)
    given = {_COLUMNS[name] for name in _COLUMNS if getattr(filters, name) is not None}
    is_known = given == only.keys() and all(getattr(filters, name) is None for name in _UNKNOWN_TO_ROLLUPS)
    if order is Order.STARTED and is_known:
        return None
    queries = [SumQuery(MODEL_DAYS, ("day",), _extend_to_days(filters.window), undropped_only=True)]
    if only:
        queries.append(SumQuery(rollup, ("day",), _extend_to_days(filters.window), only, undropped_only=True))
    results = run_queries(organization, *queries)
    calls = {date.fromisoformat(sums.key[0]): sums.requests for sums in results[0]}
    days = sorted(date.fromisoformat(sums.key[0]) for sums in results[-1])
    if sum(calls.get(day, 0) for day in days) > MAX_SCANNED:
        raise TooMuchToReadError(
            f"end_date: this order or these filters read every call of the window. Choose a window with at most"
            f" {MAX_SCANNED} calls.",
            param="end_date",
        )
    return list(_merged(days, filters.window))


def count_calls(organization: Organization, filters: LogFilter) -> int:
    """Count model calls in the window from rollups, for filters that a rollup knows. Voided calls, tools and compute
    are excluded, so there are at least this many rows."""
    rollup, only = _best_rollup(filters)
    if only.keys() <= {"status"}:
        # Windows that end now are the most frequent; hourly rollups leave less of the ledger to count.
        rollup = MODEL_DAYS if not only and _extend_to_days(filters.window) == filters.window else ORGANIZATION_HOURS
    (sums,) = run_queries(organization, SumQuery(rollup, (), filters.window, only, undropped_only=True))
    return sums[0].requests if sums else 0


def _best_rollup(filters: LogFilter) -> tuple[Rollup, dict[str, object]]:
    """Return the rollup that knows most of the filters, and their values by its dimensions."""
    if filters.end_user is not None:
        rollup = CUSTOMER_DAYS
    elif filters.user is not None:
        rollup = SPEND_DAYS
    else:
        rollup = USAGE_DAYS
    known = {dimension.column for dimension in rollup.dimensions}
    given = ((column, getattr(filters, name)) for name, column in _COLUMNS.items() if column in known)
    return rollup, {column: value for column, value in given if value is not None}


def _extend_to_days(window: Window) -> Window:
    """Extend the window to whole days."""
    start = _midnight(window.start) if window.start is not None else None
    end = window.end
    if end is not None and end != _midnight(end):
        end = _midnight(end) + DAY
    return Window(start, end)


def _midnight(instant: datetime) -> datetime:
    return datetime.combine(instant.astimezone(UTC).date(), time.min, UTC)


def _bounds_of_day(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time.min, UTC)
    return start, start + DAY


def _is_inside(day: date, window: Window) -> bool:
    start, end = _bounds_of_day(day)
    return (window.start is None or window.start <= start) and (window.end is None or end <= window.end)


def _merged(days: Iterable[date], window: Window) -> Iterator[Window]:
    """Merge days into as few spans of the window as possible, in order. All of them touch the window."""
    merged: list[tuple[datetime, datetime]] = []
    for start, end in map(_bounds_of_day, days):
        if merged and merged[-1][0] == end:
            merged[-1] = (start, merged[-1][1])
        elif merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    for start, end in merged:
        yield Window(
            max(start, window.start) if window.start is not None else start,
            min(end, window.end) if window.end is not None else end,
        )
