"""How a limit must stand, in plain Python: every question is answered by adding up all that was ever spent, at every
instant at which something changes. It shares no code with what it checks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

ZERO = Decimal(0)
DAY, QUARTER = timedelta(days=1), timedelta(minutes=15)
ROLLING = {"rolling_24h": DAY, "rolling_7d": 7 * DAY, "rolling_30d": 30 * DAY}
NEVER = datetime(9999, 1, 1, tzinfo=UTC)

Spend = tuple[datetime, Decimal]


@dataclass(frozen=True)
class Oracle:
    """A limit (its window in the API's words) and everything that is about it. `until` None: for good."""

    window: str
    amount: Decimal
    zone: str = "UTC"
    week_start: int = 1
    pauses: bool = True
    raised_to: Decimal | None = None
    raised_until: datetime = NEVER
    manual_override: str = ""
    manual_override_until: datetime = NEVER
    spend: tuple[Spend, ...] = ()
    reservations: tuple[Spend, ...] = ()
    period: tuple[datetime | None, datetime | None] = (None, None)
    """Of a fixed period: nothing counts outside of it."""

    def after(self, now: datetime) -> "Oracle":
        """What is known then: nothing of what is spent later than an hour ahead."""
        return replace(self, spend=tuple(item for item in self.spend if item[0] <= now + timedelta(hours=1)))

    # --- How it stands -----------------------------------------------------------------------------------------

    def counted(self, at: datetime) -> list[Spend]:
        """What counts at an instant, also what was reported as spent a little later; in a rolling window not what was
        spent exactly seven days ago."""
        if self.window in ROLLING:
            return [item for item in self.spend if item[0] > at - ROLLING[self.window]]
        start, end = self.span(at)
        if end is not None and end <= at:
            return []
        return [item for item in self.spend if start is None or item[0] >= start]

    def spent(self, at: datetime) -> Decimal:
        return sum((usd for _, usd in self.counted(at)), ZERO)

    def reserved(self, at: datetime) -> Decimal:
        return sum((usd for expires_at, usd in self.reservations if expires_at > at), ZERO)

    def amount_at(self, at: datetime) -> Decimal:
        return self.raised_to if self.raised_to is not None and at < self.raised_until else self.amount

    def is_reached(self, at: datetime) -> bool:
        return self.spent(at) >= self.amount_at(at)

    def is_paused(self, at: datetime) -> bool:
        if self.manual_override and at < self.manual_override_until:
            return self.manual_override == "pause"
        return self.pauses and self.is_reached(at)

    def lets_through(self, usd: Decimal, at: datetime) -> bool:
        """Whether a call of that amount is granted."""
        if self.is_paused(at):
            return False
        is_open = bool(self.manual_override) and at < self.manual_override_until
        return is_open or not self.pauses or self.spent(at) + self.reserved(at) + usd <= self.amount_at(at)

    # --- When it will stand otherwise --------------------------------------------------------------------------

    def resets_at(self, now: datetime) -> datetime | None:
        """When spend is below the amount again."""
        if not self.is_reached(now):
            return None
        return next((at for at in self.changes(now) if not self.is_reached(at)), None)

    def fits_at(self, usd: Decimal, now: datetime) -> datetime | None:
        return next((at for at in [now, *self.changes(now)] if self.lets_through(usd, at)), None)

    def changes(self, now: datetime) -> list[datetime]:
        """Every later instant at which anything changes if nothing else is spent."""
        return sorted({at for at in self._changes(now) if now < at < NEVER})

    def _changes(self, now: datetime) -> Iterator[datetime]:
        yield from (self.raised_until, self.manual_override_until)
        yield from (expires_at for expires_at, _ in self.reservations)
        if self.window in ROLLING:
            yield from (at + ROLLING[self.window] for at, _ in self.spend)
        end = self.span(now)[1]
        while end is not None and end < now + 100 * DAY:
            yield end
            _, following = self.span(end)
            end = following if following != end else None

    # --- Windows -----------------------------------------------------------------------------------------------

    def span(self, at: datetime) -> tuple[datetime | None, datetime | None]:
        """The calendar window that runs then, or the fixed period."""
        if not self.window.startswith("calendar"):
            return self.period if self.window == "fixed_period" else (None, None)
        first = last = self._today(at)
        if self.window == "calendar_week":
            while first.isoweekday() != self.week_start:
                first -= DAY
            last = first + 6 * DAY
        if self.window == "calendar_month":
            first = last = first.replace(day=1)
            while (last + DAY).month == first.month:
                last += DAY
        if self.window == "calendar_quarter":
            while first.day != 1 or first.month not in (1, 4, 7, 10):
                first -= DAY
            while (last + DAY).day != 1 or (last + DAY).month not in (1, 4, 7, 10):
                last += DAY
        return beginning(self.zone, first), beginning(self.zone, last + DAY)

    def _today(self, at: datetime) -> date:
        day = at.date() + 2 * DAY
        while beginning(self.zone, day) > at:
            day -= DAY
        return day


@cache
def beginning(zone: str, day: date) -> datetime:
    """The first quarter of an hour in which the clocks of a time zone show a day, or a later one."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - 16 * timedelta(hours=1)
    while at.astimezone(ZoneInfo(zone)).date() < day:
        at += QUARTER
    return at
