"""Find the days of the ledger that have matching events, from rollups, so that a rare filter does not make a request
search the whole ledger. (The ledger is indexed by time, and not by the columns of the filters.)
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from billing.reports.rollup_query import RollupQuery, Sums, read_sums
from billing.reports.sql import Condition
from billing.rollups.definitions import MODEL_DAYS, Rollup
from costtrack.calendar import Window, last_boundary, next_boundary, utc_midnight
from costtrack.clock import DAY
from organizations.models import Organization

MAX_READ = 500_000
"""Maximum number of calls that are read to find the rows of a filter."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Parts of a window to read, with about `calls` calls. `is_truncated` is True if there may be more matching
    events beyond them."""

    windows: list[Window]
    calls: int = 0
    is_truncated: bool = False


@dataclass(frozen=True, slots=True)
class EventDays:
    """The UTC days of a window with matching calls, and their number (0 if all of them were voided). `all_calls` has
    the calls of each day, matching or not; it is empty if what is read need not be bounded."""

    window: Window
    matching: Mapping[date, int]
    all_calls: Mapping[date, int] = field(default_factory=dict)

    def to_read(
        self,
        *,
        enough: int | None,
        oldest_first: bool = False,
        max_days: int | None = None,
        listed_day: date | None = None,
    ) -> Reading:
        """Return the newest (or oldest) days that together have at least `enough` calls, if there are that many. None:
        the number of matching calls is unknown. The day `listed_day`, in which the previous page ended, does not count,
        because some of its calls were listed already; nor do days that the window cuts."""
        days: list[date] = []
        matching = calls = 0
        for day in sorted(self.matching, reverse=not oldest_first):
            if enough is not None and matching >= enough:
                break
            if len(days) == max_days or (days and calls + self.all_calls.get(day, 0) > MAX_READ):
                return Reading(list(self._merge(days)), calls, is_truncated=True)
            days.append(day)
            calls += self.all_calls.get(day, 0)
            matching += self.matching[day] if day != listed_day and self._has_all_of(day) else 0
        return Reading(list(self._merge(days)), calls)

    def everything(self) -> Reading:
        return Reading(
            list(self._merge(sorted(self.matching))), sum(self.all_calls.get(day, 0) for day in self.matching)
        )

    def _has_all_of(self, day: date) -> bool:
        start, (first, end) = utc_midnight(day), self.window
        return (first is None or first <= start) and (end is None or start + DAY <= end)

    def _merge(self, days: Iterable[date]) -> Iterator[Window]:
        """Merge days into as few windows as possible, in order of time and clipped to the window, which all of them
        touch."""
        start, end = self.window
        merged: list[list[date]] = []
        for day in sorted(days):
            if merged and merged[-1][-1] + DAY == day:
                merged[-1].append(day)
            else:
                merged.append([day])
        for group in merged:
            first, last = utc_midnight(group[0]), utc_midnight(group[-1]) + DAY
            yield Window(max(first, start) if start is not None else first, min(last, end) if end is not None else last)


def read_event_days(
    organization: Organization, window: Window, rollup: Rollup, condition: Condition, *, with_all_calls: bool
) -> EventDays:
    """Return the days with matching calls. `condition` is over the dimensions of the rollup, which has a bucket of a
    day."""
    days = extend_to_days(window)
    queries = [RollupQuery((rollup,), (days,), ("day",), condition, undropped_only=True)]
    if with_all_calls:
        queries.append(RollupQuery.of(MODEL_DAYS, ("day",), days, undropped_only=True))
    return EventDays(window, *(_by_day(sums) for sums in read_sums(organization, *queries)))


def extend_to_days(window: Window) -> Window:
    """Extend a window to whole UTC days."""
    start, end = window
    return Window(
        last_boundary(start, DAY) if start is not None else None, next_boundary(end, DAY) if end is not None else None
    )


def _by_day(rows: Iterable[Sums]) -> dict[date, int]:
    return {date.fromisoformat(sums.key[0]): sums.requests for sums in rows}
