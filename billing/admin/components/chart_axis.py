"""The horizontal axis of a chart of days: one bar per day, or per month for long spans."""

from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from costtrack.calendar import Calendar, Span, Unit
from costtrack.clock import MICROSECOND
from costtrack.date_text import day_text
from costtrack.money import ZERO

_MAX_DAYS = 400


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


def axis(calendar: Calendar, span: Span, used: Collection[date]) -> Axis:
    """Return one bar per day of the span. A span longer than `_MAX_DAYS` is cut to the days that have usage; if it is
    still too long, the bars are months."""
    if unit_of_bars(span) is Unit.MONTH:
        if not used:
            return Axis((), Unit.DAY)
        span = calendar.days(min(used), max(used))
    unit = unit_of_bars(span)
    return Axis(tuple(_bar(calendar, period, unit) for period in calendar.periods(unit, span)), unit)


def unit_of_bars(span: Span) -> Unit:
    return Unit.MONTH if (span.end - span.start).days > _MAX_DAYS else Unit.DAY


def _bar(calendar: Calendar, period: Span, unit: Unit) -> Bar:
    first, last = calendar.date_of(period.start), calendar.date_of(period.end - MICROSECOND)
    return Bar(f"{first:%b %Y}" if unit is Unit.MONTH else day_text(first), first, last)
