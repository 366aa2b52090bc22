"""Which days of the ledger to read for a filter (document 004), and how many calls there are: told by rollups."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from billing.reports.buckets import DAY
from billing.reports.spend.log_types import LogFilter, Order, TooMuchToReadError
from billing.reports.spend.sums import Question, ask
from billing.reports.types import Window
from billing.rollups.definitions import CUSTOMER_DAYS, MODEL_DAYS, ORGANIZATION_HOURS, SPEND_DAYS, USAGE_DAYS, Rollup
from organizations.models import Organization

MAX_READ = 500_000
"""Calls on the days that are read to find the rows that a filter leaves."""
MAX_SCANNED = 200_000
"""Calls of a window that are looked at one by one, where no rollup and no index helps."""

# The dimensions that filters are about, by the filters' names.
_COLUMNS = {
    "credentials": "credential_id",
    "user": "user_ref",
    "end_user": "end_user",
    "model": "model",
    "status": "status",
}
_UNKNOWN_TO_ROLLUPS = ("status_code", "team", "deployment", "least_cost", "largest_cost")


@dataclass(frozen=True, slots=True)
class Reading:
    """Parts of a window to read: there are about `calls` in them. `is_cut`: they are not all that there is to read,
    because one request may not read more."""

    spans: list[Window]
    calls: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Days:
    """The days of a window on which a filter has rows: their calls that match, and all their calls. None: any day."""

    window: Window
    calls: Mapping[date, tuple[int, int]] | None

    def to_read(self, *, enough: int, oldest: bool) -> Reading:
        """The newest (or oldest) of them in which at least `enough` rows are, if there are so many."""
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
            # Of a day that is cut nobody knows how many of its rows are in the window.
            left -= matching if _is_inside(day, self.window) else 0
        return Reading(list(_merged(days, self.window)), to_read, is_cut)


def days_of(organization: Organization, filters: LogFilter) -> Days:
    """For filters that a rollup knows."""
    rollup, only = _narrowing(filters)
    if not only:
        return Days(filters.window, None)
    whole = _whole_days(filters.window)
    matching, everything = ask(
        organization,
        Question(rollup, ("day",), whole, only, kept=True),
        Question(MODEL_DAYS, ("day",), whole, kept=True),
    )
    calls = {sums.key: sums.requests for sums in everything}
    found = {date.fromisoformat(sums.key[0]): (sums.requests, calls.get(sums.key, 0)) for sums in matching}
    return Days(filters.window, found)


def spans_to_scan(organization: Organization, filters: LogFilter, order: Order) -> list[Window] | None:
    """The parts of the window that must be read whole for this order or filter; None: rollups and the index on time
    are enough. Raises TooMuchToReadError."""
    rollup, only = _narrowing(filters)
    given = {_COLUMNS[name] for name in _COLUMNS if getattr(filters, name) is not None}
    is_known = given == only.keys() and all(getattr(filters, name) is None for name in _UNKNOWN_TO_ROLLUPS)
    if order is Order.STARTED and is_known:
        return None
    questions = [Question(MODEL_DAYS, ("day",), _whole_days(filters.window), kept=True)]
    if only:
        questions.append(Question(rollup, ("day",), _whole_days(filters.window), only, kept=True))
    answers = ask(organization, *questions)
    calls = {date.fromisoformat(sums.key[0]): sums.requests for sums in answers[0]}
    days = sorted(date.fromisoformat(sums.key[0]) for sums in answers[-1])
    if sum(calls.get(day, 0) for day in days) > MAX_SCANNED:
        raise TooMuchToReadError(
            f"end_date: this order and these filters look at each call of the window; choose one with at most"
            f" {MAX_SCANNED} calls.",
            param="end_date",
        )
    return list(_merged(days, filters.window))


def number_of_calls(organization: Organization, filters: LogFilter) -> int:
    """Model calls in the window, by rollups: what was voided does not count, nor do tools and machines. So there are at
    least so many rows. For filters that a rollup knows."""
    rollup, only = _narrowing(filters)
    if only.keys() <= {"status"}:
        # Windows that end now are the usual ones; by the hour less of the ledger is left to count.
        rollup = MODEL_DAYS if not only and _whole_days(filters.window) == filters.window else ORGANIZATION_HOURS
    (sums,) = ask(organization, Question(rollup, (), filters.window, only, kept=True))
    return sums[0].requests if sums else 0


def _narrowing(filters: LogFilter) -> tuple[Rollup, dict[str, object]]:
    """The rollup that knows most of the filters, and what they say in its dimensions."""
    if filters.end_user is not None:
        rollup = CUSTOMER_DAYS
    elif filters.user is not None:
        rollup = SPEND_DAYS
    else:
        rollup = USAGE_DAYS
    known = {dimension.column for dimension in rollup.dimensions}
    given = ((column, getattr(filters, name)) for name, column in _COLUMNS.items() if column in known)
    return rollup, {column: value for column, value in given if value is not None}


def _whole_days(window: Window) -> Window:
    """The window with the rest of the days that it cuts."""
    start = _midnight(window.start) if window.start is not None else None
    end = window.end
    if end is not None and end != _midnight(end):
        end = _midnight(end) + DAY
    return Window(start, end)


def _midnight(instant: datetime) -> datetime:
    return datetime.combine(instant.astimezone(UTC).date(), time.min, UTC)


def _of_day(day: date) -> tuple[datetime, datetime]:
    start = datetime.combine(day, time.min, UTC)
    return start, start + DAY


def _is_inside(day: date, window: Window) -> bool:
    start, end = _of_day(day)
    return (window.start is None or window.start <= start) and (window.end is None or end <= window.end)


def _merged(days: Iterable[date], window: Window) -> Iterator[Window]:
    """As few parts of the window as hold these days, in their order. (They all touch it.)"""
    parts: list[tuple[datetime, datetime]] = []
    for start, end in map(_of_day, days):
        if parts and parts[-1][0] == end:
            parts[-1] = (start, parts[-1][1])
        elif parts and parts[-1][1] == start:
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((start, end))
    for start, end in parts:
        yield Window(
            max(start, window.start) if window.start is not None else start,
            min(end, window.end) if window.end is not None else end,
        )
