"""The price book: an organization's prices, compiled and kept in this process while they are current.

`price_book` asks the database for the prices' revisions and nothing else, unless one has changed since: then it loads
that part again. So a new price is seen by the very next call in every process, and a batch of ten thousand events
costs one small query.
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

# Together they bound the memory: an organization may send as many names of models as it likes.
_MAX_BOOKS = 512
_MAX_REMEMBERED_MODELS = 512

RECENT_SECONDS = 1.0


class PriceBook:
    """An organization's own prices, and behind them everyone's."""

    def __init__(self, own: PriceIndex, everyones: PriceIndex) -> None:
        self._own = own
        self._everyones = everyones
        self._timelines: dict[tuple[str, str], tuple[PriceTimeline, ...]] = {}

    def is_current(self, own_revision: int, everyones_revision: int) -> bool:
        return self._own.revision == own_revision and self._everyones.revision == everyones_revision

    def find(self, service: str, model: str, occurred_at: datetime) -> CompiledPrice | None:
        """The price that holds for a call at that instant: the organization's own if one does, else everyone's."""
        timelines = self._timelines.get((service, model))
        if timelines is None:
            timelines = self._look_up(service, model)
        for timeline in timelines:
            price = timeline.at(occurred_at)
            if price is not None:
                return price
        return None

    def quote(self, *, service: str, model: str, occurred_at: datetime, usage: TokenUsage) -> Quote:
        """What a call costs, with the lines that explain it, or why that is not known."""
        if not model:
            return Quote(calculation=Calculation(reason=UnpricedReason.NO_MODEL))
        price = self.find(service, model, occurred_at)
        if price is None:
            return Quote(calculation=Calculation(reason=UnpricedReason.NO_PRICE))
        return Quote(price.price_version_id, price.calculate(usage))

    def _look_up(self, service: str, model: str) -> tuple[PriceTimeline, ...]:
        """Every timeline that could price the model, the first choice first. The order is docs/prices.md's."""
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
        found = [
            timeline
            for shelf in (self._own, self._everyones)
            for provider, name in names
            for timeline in shelf.find(provider, name)
        ]
        timelines = tuple(dict.fromkeys(found))
        if len(self._timelines) >= _MAX_REMEMBERED_MODELS:
            self._timelines.clear()
        self._timelines[service, model] = timelines
        return timelines


class _Books:
    """The books of this process, the least recently used ones given up first. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._books: OrderedDict[int, PriceBook] = OrderedDict()
        self._current_at: dict[int, float] = {}
        self._everyones_lock = threading.Lock()
        self._everyones: PriceIndex | None = None

    def get(self, organization_id: int, own_revision: int, everyones_revision: int) -> PriceBook:
        with self._lock:
            book = self._books.get(organization_id)
            if book is not None and book.is_current(own_revision, everyones_revision):
                self._books.move_to_end(organization_id)
                self._current_at[organization_id] = time.monotonic()
                return book
        book = PriceBook(PriceIndex.load(organization_id, own_revision), self._everyones_shelf(everyones_revision))
        with self._lock:
            self._books[organization_id] = book
            self._books.move_to_end(organization_id)
            self._current_at[organization_id] = time.monotonic()
            while len(self._books) > _MAX_BOOKS:
                self._current_at.pop(self._books.popitem(last=False)[0], None)
        return book

    def _everyones_shelf(self, revision: int) -> PriceIndex:
        """Compiled once for all organizations; the other threads wait rather than do the same work."""
        with self._everyones_lock:
            if self._everyones is None or self._everyones.revision != revision:
                self._everyones = PriceIndex.load(None, revision)
            return self._everyones

    def kept(self, organization_id: int) -> PriceBook | None:
        """The book that is here, if it was current a moment ago."""
        with self._lock:
            is_recent = self._current_at.get(organization_id, 0) > time.monotonic() - RECENT_SECONDS
            return self._books.get(organization_id) if is_recent else None


_books = _Books()


def cached_price_book(organization_id: int) -> PriceBook:
    """The organization's prices as they were at most a second ago, mostly without asking: for estimates."""
    return _books.kept(organization_id) or price_book(organization_id)


def price_book(organization_id: int) -> PriceBook:
    """The organization's prices as they are now. Use it for one batch and ask again for the next."""
    # The revision is read before the prices: a change in between makes the book newer than its revision says, and
    # the next call loads it once more. The other way round it could stay too old.
    scope = Q(organization=None) | Q(organization=organization_id)
    revisions: dict[int | None, int] = dict(
        PriceBookRevision.objects.filter(scope).values_list("organization_id", "revision")
    )
    return _books.get(organization_id, revisions.get(organization_id, 0), revisions.get(None, 0))
