"""Price books: the compiled prices of each organization, cached in this process while they are current.

`price_book` reads only the revisions of the prices from the database, and reloads prices whose revision has changed. So
every process uses a new price for the next call, and a batch of ten thousand events needs one small query.
"""

import threading
import time
from datetime import datetime
from functools import lru_cache, partial

from django.db.models import Q

from billing.models import PriceBookRevision
from billing.pricing.calculate import CompiledPrice
from billing.pricing.normalize import catalogue_model, catalogue_provider
from billing.pricing.price_index import PriceIndex, PriceTimeline
from billing.pricing.types import Calculation, Quote, TokenUsage
from billing.types import UnpricedReason
from costtrack.revision_cache import RevisionCache

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
