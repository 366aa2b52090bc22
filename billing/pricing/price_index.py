"""In-memory index of one owner's prices (an organization's, or everyone's) by name, alias or pattern, then by time."""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from billing.models import PriceVersion
from billing.pricing.calculate import CompiledPrice
from billing.pricing.records import unit_prices_of


@dataclass(frozen=True)
class _Period:
    """A price version, compiled on first use."""

    version: PriceVersion

    @cached_property
    def price(self) -> CompiledPrice:
        return CompiledPrice(unit_prices_of(self.version), self.version.pk)


class PriceTimeline:
    """The versions of one (provider, model) with one name, ordered by time. There may be gaps."""

    def __init__(self, periods: Iterable[_Period]) -> None:
        self._periods = sorted(periods, key=lambda period: period.version.effective_from)
        self._starts = [period.version.effective_from for period in self._periods]

    def at(self, instant: datetime) -> CompiledPrice | None:
        """Return the price with `effective_from <= instant < effective_to`."""
        position = bisect_right(self._starts, instant)
        if position == 0:
            return None
        period = self._periods[position - 1]
        effective_to = period.version.effective_to
        if effective_to is not None and instant >= effective_to:
            return None
        return period.price


@dataclass(frozen=True)
class _Pattern:
    """A name in which `*` matches any characters."""

    name: str
    timelines: list[PriceTimeline]

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        head, *middle, tail = (re.escape(part) for part in self.name.split("*"))
        # Atomic groups do not backtrack, so the match stays fast for any number of stars.
        return re.compile(head + "".join(f"(?>.*?{part})" for part in middle) + ".*" + tail, re.DOTALL)

    def matches(self, model: str) -> bool:
        return self._regex.fullmatch(model) is not None


class PriceIndex:
    """All prices of one owner. Names are case-insensitive."""

    def __init__(self, versions: Iterable[PriceVersion]) -> None:
        self._timelines: dict[tuple[str, str], list[PriceTimeline]] = {}
        self._patterns: dict[str, list[_Pattern]] = defaultdict(list)
        for (provider, name), periods_by_model in _carriers(versions).items():
            # The model with that name comes before those with that alias.
            namesake = periods_by_model.pop(name, None)
            groups = [*([namesake] if namesake else []), *periods_by_model.values()]
            timelines = [PriceTimeline(periods) for periods in groups]
            if "*" in name:
                self._patterns[provider].append(_Pattern(name, timelines))
            else:
                self._timelines[provider, name] = timelines
        for patterns in self._patterns.values():
            # The longest pattern first.
            patterns.sort(key=lambda pattern: len(pattern.name), reverse=True)

    @classmethod
    def load(cls, organization_id: int | None) -> "PriceIndex":
        """Read the prices of an organization, or those of everyone (None)."""
        return cls(PriceVersion.objects.filter(organization=organization_id).in_force().order_by("id"))

    def find(self, provider: str, model: str) -> list[PriceTimeline]:
        """Return the timelines with this name: as their model, as an alias, as a pattern, in this order."""
        provider, model = provider.lower(), model.lower()
        timelines = [*self._timelines.get((provider, model), ())]
        for pattern in self._patterns.get(provider, ()):
            if pattern.matches(model):
                timelines += pattern.timelines
        return timelines


def _carriers(versions: Iterable[PriceVersion]) -> dict[tuple[str, str], dict[str, list[_Period]]]:
    """Group the versions by (provider, name), where names include aliases, and by model."""
    carriers: dict[tuple[str, str], dict[str, list[_Period]]] = defaultdict(lambda: defaultdict(list))
    for version in versions:
        period = _Period(version)
        provider, model = version.provider.lower(), version.model.lower()
        for name in {model: None, **dict.fromkeys(alias.lower() for alias in version.aliases)}:
            carriers[provider, name][model].append(period)
    return carriers
