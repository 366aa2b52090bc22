"""Price books: the compiled prices of each organization, cached in this process while they are current.

`price_book` reads only the revisions of the prices from the database, and reloads prices whose revision has changed. So
every process uses a new price for the next call, and a batch of ten thousand events needs one small query.
"""

import threading
import time
from collections import OrderedDict
from datetime import datetime

from django.db.models import Q

from billing.models import PriceBookRevision
from billing.pricing.calculate import CompiledPrice
from billing.pricing.normalize import catalogue_model, catalogue_provider
from billing.pricing.price_index import PriceIndex, PriceTimeline
from billing.pricing.types import Calculation, Quote, TokenUsage
from billing.types import UnpricedReason

# Together they bound the memory, because organizations may send any number of model names.
_MAX_CACHED_BOOKS = 512
_MAX_CACHED_MODELS = 512

RECENT_SECONDS = 1.0


class PriceBook:
    """An organization's own prices, with the shared prices of everyone as fallback."""

    def __init__(self, own: PriceIndex, shared: PriceIndex) -> None:
        self._own = own
        self._shared = shared
        self._timelines: dict[tuple[str, str], tuple[PriceTimeline, ...]] = {}

    def is_current(self, own_revision: int, shared_revision: int) -> bool:
        return self._own.revision == own_revision and self._shared.revision == shared_revision

    def find(self, service: str, model: str, occurred_at: datetime) -> CompiledPrice | None:
        """Return the price in effect at that time: the organization's own if there is one, else everyone's."""
        timelines = self._timelines.get((service, model))
        if timelines is None:
            timelines = self._look_up(service, model)
        for timeline in timelines:
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

    def _look_up(self, service: str, model: str) -> tuple[PriceTimeline, ...]:
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
        timelines_by_priority = [
            timeline
            for index in (self._own, self._shared)
            for provider, name in names
            for timeline in index.find(provider, name)
        ]
        timelines = tuple(dict.fromkeys(timelines_by_priority))
        if len(self._timelines) >= _MAX_CACHED_MODELS:
            self._timelines.clear()
        self._timelines[service, model] = timelines
        return timelines


class _PriceBookCache:
    """The price books of this process; evicts the least recently used. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, PriceBook] = OrderedDict()
        self._current_at: dict[int, float] = {}
        self._shared_lock = threading.Lock()
        self._shared: PriceIndex | None = None

    def get(self, organization_id: int, own_revision: int, shared_revision: int) -> PriceBook:
        with self._lock:
            book = self._cache.get(organization_id)
            if book is not None and book.is_current(own_revision, shared_revision):
                self._cache.move_to_end(organization_id)
                self._current_at[organization_id] = time.monotonic()
                return book
        book = PriceBook(PriceIndex.load(organization_id, own_revision), self._shared_index(shared_revision))
        with self._lock:
            self._cache[organization_id] = book
            self._cache.move_to_end(organization_id)
            self._current_at[organization_id] = time.monotonic()
            while len(self._cache) > _MAX_CACHED_BOOKS:
                self._current_at.pop(self._cache.popitem(last=False)[0], None)
        return book

    def _shared_index(self, revision: int) -> PriceIndex:
        """Return everyone's prices, compiled once for all organizations. Other threads wait meanwhile."""
        with self._shared_lock:
            if self._shared is None or self._shared.revision != revision:
                self._shared = PriceIndex.load(None, revision)
            return self._shared

    def get_recent(self, organization_id: int) -> PriceBook | None:
        """Return the cached book if it was current within the last second."""
        with self._lock:
            is_recent = self._current_at.get(organization_id, 0) > time.monotonic() - RECENT_SECONDS
            return self._cache.get(organization_id) if is_recent else None


_cache = _PriceBookCache()


def cached_price_book(organization_id: int) -> PriceBook:
    """Return the organization's prices, up to one second old and mostly without a query. For estimates."""
    return _cache.get_recent(organization_id) or price_book(organization_id)


def price_book(organization_id: int) -> PriceBook:
    """Return the organization's current prices. Call it for each batch."""
    # The revision is read before the prices. If they change in between, the book is newer than its revision and is
    # loaded again by the next call. In the other order it could stay outdated.
    scope = Q(organization=None) | Q(organization=organization_id)
    revisions: dict[int | None, int] = dict(
        PriceBookRevision.objects.filter(scope).values_list("organization_id", "revision")
    )
    return _cache.get(organization_id, revisions.get(organization_id, 0), revisions.get(None, 0))
