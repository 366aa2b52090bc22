"""What has to change in a model's price history so that it says what the catalogue says now: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.pricing.catalogue import BEGINNING, Segment
from billing.pricing.types import UnitPrices


@dataclass(frozen=True, slots=True)
class Held:
    """A version that is there already. `effective_to` None: for good."""

    id: int
    effective_from: datetime
    effective_to: datetime | None
    prices: UnitPrices

    def holds_at(self, instant: datetime) -> bool:
        return self.effective_from <= instant and (self.effective_to is None or instant < self.effective_to)


@dataclass(frozen=True, slots=True)
class Begin:
    """A version to write."""

    effective_from: datetime
    effective_to: datetime | None
    prices: UnitPrices


@dataclass(frozen=True, slots=True)
class End:
    """A version whose end moves. Ended where it begins, it never holds."""

    held: Held
    effective_to: datetime | None


@dataclass(frozen=True, slots=True)
class Changes:
    begins: tuple[Begin, ...]
    ends: tuple[End, ...]


def plan_changes(held: Sequence[Held], wanted: Sequence[Segment], now: datetime) -> Changes:
    """The versions to begin and to end. Unit prices of a version never change, and the past changes only from dates
    that the catalogue names: a price that it gives without a date holds from `now` on if it differs from ours.
    """
    history = _History(held, wanted, now)
    starts = history.starts()
    rows = {version.effective_from: version for version in held}
    begins: list[Begin] = []
    kept: dict[int, datetime | None] = {}
    for start, following in zip(starts, [*starts[1:], None], strict=False):
        prices = history.prices_at(start)
        row = rows.get(start)
        if row is not None and row.prices == prices:
            kept[row.id] = following
        elif prices is not None:
            begins.append(Begin(start, following, prices))
    ends = [
        End(version, end)
        for version in held
        if (end := kept.get(version.id, version.effective_from)) != version.effective_to
    ]
    return Changes(tuple(begins), tuple(ends))


class _History:
    """What should hold when: our own past, and from the catalogue's dates on what it says."""

    def __init__(self, held: Sequence[Held], wanted: Sequence[Segment], now: datetime) -> None:
        self._held = held
        self._wanted = wanted
        first_date = wanted[1].effective_from if len(wanted) > 1 else None
        past_until = now if first_date is None else min(now, first_date)
        # Until here our own past stands; without one the catalogue is believed from the beginning.
        has_past = any(version.effective_from < past_until for version in held)
        self._past_until = past_until if has_past else BEGINNING

    def prices_at(self, instant: datetime) -> UnitPrices | None:
        if instant < self._past_until:
            return next((version.prices for version in self._held if version.holds_at(instant)), None)
        return next(segment.prices for segment in reversed(self._wanted) if segment.effective_from <= instant)

    def starts(self) -> list[datetime]:
        """Where a version begins or a gap does. A version of ours that says the right thing is not joined with its
        neighbor, so that the rows that events were priced with stay as they are."""
        instants = {self._past_until, *(segment.effective_from for segment in self._wanted)}
        for version in self._held:
            instants.add(version.effective_from)
            if version.effective_to is not None:
                instants.add(version.effective_to)
        ours = {version.effective_from: version.prices for version in self._held}
        starts: list[datetime] = []
        before: UnitPrices | None = None
        for instant in sorted(instants):
            prices = self.prices_at(instant)
            if prices != before or (prices is not None and ours.get(instant) == prices):
                starts.append(instant)
            before = prices
        return starts
