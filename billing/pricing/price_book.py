"""Price books: the compiled prices of each organization, cached in this process while they are current.

`price_book` reads only the revisions of the prices from the database, and reloads prices whose revision has changed. So
every process uses a new price for the next call, and a batch of ten thousand events needs one small query.

A model is looked up by its names: as sent, without a prefix, and as the catalogue spells it (docs/prices.md), each
first in the organization's own prices, then in everyone's. A `PriceIndex` finds a name as a model, an alias or a
pattern; its `PriceTimeline` has the versions of that model by time.
"""

import re
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache, partial

from django.db.models import Q

from billing.models import PriceBookRevision, PriceVersion
from billing.pricing.calculate import CompiledPrice
from billing.pricing.normalize import catalogue_model, catalogue_provider
from billing.pricing.price_fields import unit_prices_of
from billing.pricing.types import Calculation, Quote, TokenUsage
from billing.types import UnpricedReason
from costtrack.revision_cache import RevisionCache


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


# Together they bound the memory, because organizations may send any number of model names.
_MAX_ORGANIZATIONS = 512
_MAX_MODELS = 512

RECENT_SECONDS = 1.0


class PriceBook:
    """An organization's own prices, with the shared prices of everyone as fallback."""

    def __init__(self, own: PriceIndex, shared: PriceIndex) -> None:
        self._timelines = lru_cache(_MAX_MODELS)(partial(_timelines_by_priority, (own, shared)))
        self.confirmed_at = 0.0
        """When the prices were last known to be current, on the monotonic clock."""

    def find(self, service: str, model: str, occurred_at: datetime) -> CompiledPrice | None:
        """Return the price in effect at that time: the organization's own if there is one, else everyone's."""
        for timeline in self._timelines(service, model):
            price = timeline.at(occurred_at)
            if price is not None:
                return price
        return None

    def quote(self, *, service: str, model: str, occurred_at: datetime, usage: TokenUsage) -> Quote:
        """Return the cost of a call with its lines, or the reason why it is unknown."""
        if not model:
            return Quote(calculation=Calculation(reason=UnpricedReason.NO_MODEL))
        price = self.find(service, model, occurred_at)
        if price is None:
            return Quote(calculation=Calculation(reason=UnpricedReason.NO_PRICE))
        return Quote(price.price_version_id, price.calculate(usage))


def _timelines_by_priority(indexes: tuple[PriceIndex, ...], service: str, model: str) -> tuple[PriceTimeline, ...]:
    """Return every timeline that could price the model, in the order that docs/prices.md defines."""
    if not model:
        return ()
    names = [(service, model), ("", model)]
    prefix, slash, rest = model.partition("/")
    if slash and not service:
        names += [(prefix, rest), ("", rest)]
    meant = catalogue_model(service, model)
    if meant is not None:
        names += [(meant.provider, model), (meant.provider, meant.model)]
    elif (provider := catalogue_provider(service)) is not None:
        names.append((provider, model))
    timelines = [timeline for index in indexes for provider, name in names for timeline in index.find(provider, name)]
    return tuple(dict.fromkeys(timelines))


_price_books: RevisionCache[int, tuple[int, int], PriceBook] = RevisionCache(_MAX_ORGANIZATIONS)
_shared_prices: RevisionCache[None, int, PriceIndex] = RevisionCache(1)
_loading_shared_prices = threading.Lock()


def price_book(organization_id: int) -> PriceBook:
    """Return the organization's current prices. Call it for each batch."""
    scope = Q(organization=None) | Q(organization=organization_id)
    revisions: dict[int | None, int] = dict(
        PriceBookRevision.objects.filter(scope).values_list("organization_id", "revision")
    )
    own, shared = revisions.get(organization_id, 0), revisions.get(None, 0)

    def load() -> PriceBook:
        return PriceBook(PriceIndex.load(organization_id), _shared_index(shared))

    prices = _price_books.get_or_load(organization_id, (own, shared), load)
    prices.confirmed_at = time.monotonic()
    return prices


def cached_price_book(organization_id: int) -> PriceBook:
    """Return the organization's prices, up to one second old and mostly without a query. For estimates."""
    prices = _price_books.peek(organization_id)
    if prices is not None and prices.confirmed_at > time.monotonic() - RECENT_SECONDS:
        return prices
    return price_book(organization_id)


def _shared_index(revision: int) -> PriceIndex:
    """Return everyone's prices, compiled once for all organizations. Other threads wait meanwhile."""
    with _loading_shared_prices:
        return _shared_prices.get_or_load(None, revision, lambda: PriceIndex.load(None))
