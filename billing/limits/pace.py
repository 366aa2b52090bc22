"""The pace of spend by weekday and hour of the day, from the last four weeks.

    (pace,) = read_paces(organization=organization, scopes=[("organization", "")], now=now)
    pace.usd_until(timedelta(hours=3))    # expected in the next three hours
    pace.time_for(Decimal(10))            # how long it takes to spend 10 USD

The shape is the average of the last weeks, each hour of the week separately, in the organization's time zone. The level
is that of the last seven days, or that of the last 24 hours if more was spent than usual, so that a runaway is noticed.
Without a week of history there is no pace, and `billing.limits.forecast` uses the rate of the last 24 hours.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from itertools import accumulate
from typing import NamedTuple

from billing.limits.types import Rule
from costtrack.calendar import Calendar
from costtrack.clock import HOUR, MICROSECOND, start_of_hour
from costtrack.database.queries import fetch_rows
from costtrack.money import ZERO
from costtrack.revision_cache import RevisionCache
from organizations.models import Organization

MAX_HORIZON = timedelta(days=3653)
"""Nothing is forecast beyond ten years."""
RATE_PERIOD = timedelta(hours=24)
WEEK = timedelta(days=7)
MAX_WEEKS = 4
HOURS_OF_WEEK = 168
_HOURS_OF_DAY = 24
_MAX_CACHED = 20_000
_MAX_MICROSECONDS = Decimal(MAX_HORIZON // MICROSECOND)


class Rate(NamedTuple):
    """A constant rate: an amount spent during a period."""

    usd: Decimal
    during: timedelta

    @property
    def is_zero(self) -> bool:
        return self.usd <= 0

    @property
    def steps(self) -> Sequence[timedelta]:
        """When the rate changes, from now."""
        return ()

    def time_for(self, usd: Decimal) -> timedelta:
        """Return how long it takes to spend `usd`, in whole microseconds, from 0 to `MAX_HORIZON`."""
        microseconds = min(max(usd, ZERO) * (self.during // MICROSECOND) / self.usd, _MAX_MICROSECONDS)
        return int(microseconds.to_integral_value(ROUND_CEILING)) * MICROSECOND

    def usd_between(self, start: timedelta, end: timedelta) -> Decimal:
        """Return what is spent between two times from now."""
        return self.usd * ((end - start) // MICROSECOND) / (self.during // MICROSECOND)


@dataclass(frozen=True, slots=True)
class WeeklyPace:
    """`sums` are the expected amounts until the end of each of the next 168 hours, from the start of the current one,
    which begins with 0; the weeks after that repeat them. `elapsed` is the part of the current hour that is over."""

    sums: tuple[float, ...]
    elapsed: timedelta

    @property
    def is_zero(self) -> bool:
        return self.sums[-1] <= 0

    @property
    def steps(self) -> Sequence[timedelta]:
        return [hour * HOUR - self.elapsed for hour in range(1, HOURS_OF_WEEK + 1)]

    def time_for(self, usd: Decimal) -> timedelta:
        """Return how long it takes to spend `usd`, from 0 to `MAX_HORIZON`."""
        target = max(float(usd), 0.0) + self._sum_at(self.elapsed / HOUR)
        weeks, rest = divmod(target, self.sums[-1])
        if weeks * HOURS_OF_WEEK * HOUR.total_seconds() > MAX_HORIZON.total_seconds():
            return MAX_HORIZON
        index = bisect_left(self.sums, rest)
        part = 0.0 if index == 0 else (rest - self.sums[index - 1]) / (self.sums[index] - self.sums[index - 1])
        hours = weeks * HOURS_OF_WEEK + max(index - 1, 0) + part
        return min(max(hours * HOUR - self.elapsed, timedelta()), MAX_HORIZON)

    def usd_between(self, start: timedelta, end: timedelta) -> Decimal:
        first, last = ((self.elapsed + at) / HOUR for at in (start, end))
        return Decimal(repr(self._sum_at(last) - self._sum_at(first)))

    def usd_until(self, after: timedelta) -> Decimal:
        return self.usd_between(timedelta(), after)

    def _sum_at(self, hours: float) -> float:
        """Return the expected amount from the start of the current hour until that many hours after it."""
        weeks, rest = divmod(hours, HOURS_OF_WEEK)
        index = int(rest)
        inside = (self.sums[index + 1] - self.sums[index]) * (rest - index)
        return weeks * self.sums[-1] + self.sums[index] + inside


Pace = Rate | WeeklyPace


class History(NamedTuple):
    """Spend of the last four weeks without the current hour: the first hour, sums by hour of the week (Monday 0:00 is
    0), and the spend of the last seven days and the last 24 hours."""

    first_hour: datetime | None
    by_hour_of_week: tuple[tuple[int, float], ...]
    week_usd: float
    day_usd: float


_NO_HISTORY = History(None, (), 0.0, 0.0)
_cached: RevisionCache[tuple[int, str, str], tuple[datetime, str], History] = RevisionCache(_MAX_CACHED)
"""Histories of this process. They change by the hour, because they have only full hours."""

_HISTORY = """
SELECT requested.ordinal, history.*
FROM unnest(%(scopes)s::text[], %(values)s::text[]) WITH ORDINALITY AS requested (scope, value, ordinal)
CROSS JOIN LATERAL (
    SELECT min(first_hour), array_agg(hour_of_week), array_agg(usd), sum(week_usd), sum(day_usd)
    FROM (
        SELECT
            (extract(isodow FROM spend.hour AT TIME ZONE %(zone)s)::int - 1) * 24
                + extract(hour FROM spend.hour AT TIME ZONE %(zone)s)::int AS hour_of_week,
            min(spend.hour) AS first_hour,
            sum(spend.cost_usd)::float8 AS usd,
            sum(CASE WHEN spend.hour >= %(now)s - interval '7 days' THEN spend.cost_usd ELSE 0 END)::float8 AS week_usd,
            sum(CASE WHEN spend.hour >= %(now)s - interval '1 day' THEN spend.cost_usd ELSE 0 END)::float8 AS day_usd
        FROM billing_scopehour AS spend
        WHERE spend.organization_id = %(organization)s
            AND spend.scope = requested.scope
            AND spend.value = requested.value
            AND spend.hour >= %(now)s - interval '28 days'
            AND spend.hour < %(now)s
        GROUP BY 1
    ) AS hours
) AS history
"""


def organization_pace(organization: Organization, now: datetime) -> WeeklyPace | None:
    """Return the pace of all spend; None if there is less than a week of history."""
    (history,) = _read_histories(organization, [("organization", "")], start_of_hour(now))
    return weekly_pace(history, calendar=organization.calendar, recent_usd=ZERO, now=now)


def read_paces(
    *, organization: Organization, rules: Sequence[Rule], recent_usd: Sequence[Decimal], now: datetime
) -> list[WeeklyPace | None]:
    """Return the pace of each rule in its unit; None if there is less than a week of history. `recent_usd` is what each
    has spent in the last 24 hours, as its balance knows it, with the current hour."""
    histories = _read_histories(organization, [(rule.rows_scope, rule.value) for rule in rules], start_of_hour(now))
    return [
        weekly_pace(history, calendar=organization.calendar, recent_usd=recent, now=now)
        for history, recent in zip(histories, recent_usd, strict=True)
    ]


def weekly_pace(history: History, *, calendar: Calendar, recent_usd: Decimal, now: datetime) -> WeeklyPace | None:
    """Build the pace of a history. Pure."""
    hour = start_of_hour(now)
    if history.first_hour is None or hour - history.first_hour < WEEK:
        return None
    local = hour.astimezone(calendar.zone)
    current = local.weekday() * _HOURS_OF_DAY + local.hour
    weeks, rest = divmod(min(hour - history.first_hour, MAX_WEEKS * WEEK) // HOUR, HOURS_OF_WEEK)
    averages = [0.0] * HOURS_OF_WEEK
    for hour_of_week, usd in history.by_hour_of_week:
        hours_ago = (current - hour_of_week - 1) % HOURS_OF_WEEK + 1
        averages[hour_of_week] = max(usd, 0.0) / (weeks + (hours_ago <= rest))
    ahead = [*averages[current:], *averages[:current]]
    level = _level(history, ahead, float(recent_usd))
    return WeeklyPace((0.0, *accumulate(usd * level for usd in ahead)), now - hour)


def _level(history: History, ahead: Sequence[float], recent_usd: float) -> float:
    """Return how much more than the average is being spent."""
    week = sum(ahead)
    if week <= 0:
        return 0.0
    usual_day = max(sum(ahead[-_HOURS_OF_DAY:]), week / 7)
    return max(history.week_usd / week, max(history.day_usd, recent_usd) / usual_day, 0.0)


def _read_histories(organization: Organization, scopes: Sequence[tuple[str, str]], hour: datetime) -> list[History]:
    """Return the history of each scope and value, from one statement for those that are not cached."""
    revision = (hour, organization.time_zone)
    known = {key: _cached.get((organization.pk, *key), revision) for key in scopes}
    missing = [key for key, history in known.items() if history is None]
    if missing:
        parameters = {
            "organization": organization.pk,
            "scopes": [scope for scope, _ in missing],
            "values": [value for _, value in missing],
            "zone": organization.time_zone,
            "now": hour,
        }
        for ordinal, first_hour, hours_of_week, usd, week_usd, day_usd in fetch_rows(_HISTORY, parameters):
            key = missing[ordinal - 1]
            history = _NO_HISTORY
            if first_hour is not None:
                history = History(first_hour, tuple(zip(hours_of_week, usd, strict=True)), week_usd, day_usd)
            _cached.put((organization.pk, *key), revision, history)
            known[key] = history
    return [known[key] or _NO_HISTORY for key in scopes]
