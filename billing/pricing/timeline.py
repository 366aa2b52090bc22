"""Computation of the changes that bring a model's price history in line with the catalog. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.pricing.catalog import BEGINNING, Segment
from billing.pricing.kind_prices import KindPrices


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A stored version. `effective_to` is None if it has no end."""

    id: int
    effective_from: datetime
    effective_to: datetime | None
    prices: KindPrices

    def holds_at(self, instant: datetime) -> bool:
        return self.effective_from <= instant and (self.effective_to is None or instant < self.effective_to)


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version to create."""

    effective_from: datetime
    effective_to: datetime | None
    prices: KindPrices


@dataclass(frozen=True, slots=True)
class EndedVersion:
    """A version whose end moves. If it ends where it begins, it is never in effect."""

    stored: StoredVersion
    effective_to: datetime | None


@dataclass(frozen=True, slots=True)
class Changes:
    begins: tuple[NewVersion, ...]
    ends: tuple[EndedVersion, ...]


def plan_changes(stored: Sequence[StoredVersion], segments: Sequence[Segment], now: datetime) -> Changes:
    """Return the versions to create and to end.

    Unit prices of a version never change. The past changes only from dates that the catalog names; a price without a
    date is in effect from `now` on if it differs from the stored one.
    """
    history = _History(stored, segments, now)
    starts = history.starts()
    rows = {version.effective_from: version for version in stored}
    begins: list[NewVersion] = []
    matching: dict[int, datetime | None] = {}
    for start, following in zip(starts, [*starts[1:], None], strict=False):
        prices = history.prices_at(start)
        row = rows.get(start)
        if row is not None and row.prices == prices:
            matching[row.id] = following
        elif prices is not None:
            begins.append(NewVersion(start, following, prices))
    ends = [
        EndedVersion(version, end)
        for version in stored
        if (end := matching.get(version.id, version.effective_from)) != version.effective_to
    ]
    return Changes(tuple(begins), tuple(ends))


class _History:
    """The target history: the stored past, and the catalog from its dates on."""

    def __init__(self, stored: Sequence[StoredVersion], segments: Sequence[Segment], now: datetime) -> None:
        self._stored = stored
        self._segments = segments
        first_date = segments[1].effective_from if len(segments) > 1 else None
        past_until = now if first_date is None else min(now, first_date)
        # The stored history is authoritative until here; without one the catalog is, from the beginning.
        has_past = any(version.effective_from < past_until for version in stored)
        self._past_until = past_until if has_past else BEGINNING

    def prices_at(self, instant: datetime) -> KindPrices | None:
        if instant < self._past_until:
            return next((version.prices for version in self._stored if version.holds_at(instant)), None)
        return next(segment.prices for segment in reversed(self._segments) if segment.effective_from <= instant)

    def starts(self) -> list[datetime]:
        """Return where versions and gaps begin. A stored version with the right prices is not merged with its neighbor,
        so that the versions that events were priced with stay as they are."""
        instants = {self._past_until, *(segment.effective_from for segment in self._segments)}
        for version in self._stored:
            instants.add(version.effective_from)
            if version.effective_to is not None:
                instants.add(version.effective_to)
        stored_prices = {version.effective_from: version.prices for version in self._stored}
        starts: list[datetime] = []
        before: KindPrices | None = None
        for instant in sorted(instants):
            prices = self.prices_at(instant)
            if prices != before or (prices is not None and stored_prices.get(instant) == prices):
                starts.append(instant)
            before = prices
        return starts
