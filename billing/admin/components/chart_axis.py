"""The horizontal axis of a chart of UTC days: one bar per day, or per month for long spans."""

from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from costtrack.calendar import Calendar, Span, Unit
from costtrack.money import ZERO

_UTC = ZoneInfo("UTC")
UTC_DAYS = Calendar(_UTC)
_MAX_DAYS = 400
_SECOND = timedelta(seconds=1)


def utc_calendar(week_start: int) -> Calendar:
    """Return a UTC calendar with the organization's week start."""
    return Calendar(_UTC, week_start)


@dataclass(frozen=True, slots=True)
class Bar:
    """A day or a month on the axis; both ends are inclusive."""

    label: str
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Axis:
    bars: tuple[Bar, ...]
    unit: Unit

    def sums(self, amounts: Iterable[tuple[date, Decimal]]) -> list[Decimal]:
        """Sum the amounts per bar; every day must be on the axis."""
        firsts, sums = [bar.first for bar in self.bars], [ZERO] * len(self.bars)
        for day, amount in amounts:
            sums[bisect_right(firsts, day) - 1] += amount
        return sums


def axis(span: Span, used: Collection[date]) -> Axis:
    """Return one bar per day of the span. A span longer than `_MAX_DAYS` is cut to the days that have usage; if it is
    still too long, the bars are months."""
    if (span.end - span.start).days > _MAX_DAYS:
        if not used:
            return Axis((), Unit.DAY)
        span = UTC_DAYS.days(min(used), max(used))
    unit = Unit.MONTH if (span.end - span.start).days > _MAX_DAYS else Unit.DAY
    return Axis(tuple(_bar(period, unit) for period in UTC_DAYS.periods(unit, span)), unit)


def _bar(period: Span, unit: Unit) -> Bar:
    first, last = period.start.date(), (period.end - _SECOND).date()
    return Bar(f"{first:%Y-%m}" if unit is Unit.MONTH else first.isoformat(), first, last)
