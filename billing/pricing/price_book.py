"""Price books: the compiled prices of each organization, cached in this process while they are current.

`price_book` reads only the revisions of the prices from the database, and reloads prices whose revision has changed. So
every process uses a new price for the next call, and a batch of ten thousand events needs one small query.

A model is looked up by its names: as sent, without a prefix, and as the catalog spells it (docs/prices.md), first in
the organization's own prices, then in the manual ones of everyone. The imported catalog is looked up by the model
that the call means (`billing.pricing.canonical`) alone, because its names also match variants. A `PriceIndex` finds a
name as a model, an alias or a pattern; its `PriceTimeline` has the versions of that model by time.
"""

import re
import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, lru_cache, partial
from typing import NamedTuple, TypeAlias

from django.db.models import Q

from billing.models import Agreement as AgreementRow
from billing.models import PriceBookRevision, PriceVersion
from billing.pricing.agreements import Agreement
from billing.pricing.canonical import CanonicalModel, canonical_model, model_identity, service_name
from billing.pricing.kind_prices_json import prices_from_json
from billing.pricing.normalize import catalog_provider
from billing.pricing.price_fields import kind_prices_of
from billing.pricing.quote import (
    Call,
    CompiledPrices,
    Quote,
    declared_conditions,
    declared_starts,
    quote_calls,
    with_declared,
)
from billing.types import PriceSource, UnpricedReason
from costtrack.calendar import utc_midnight
from costtrack.names import clean_name
from costtrack.revision_cache import RevisionCache

_MAX_COMPILED = 64


def compile_price(version: PriceVersion, called: CanonicalModel, day: date) -> CompiledPrices:
    """Return the price for calls of a model on a day (UTC)."""
    prices = kind_prices_of(version)
    if version.source == PriceSource.CATALOGUE:
        prices = with_declared(prices, called, day)
    else:
        prices = replace(prices, conditions=(*prices.conditions, *declared_conditions(called)))
    return CompiledPrices(called, prices, version.pk)


def called_model(version: PriceVersion, service: str, model: str, day: date) -> CanonicalModel:
    """Return the model that a call is priced as by a version: the catalog's, else the version's own."""
    name = model.strip().lower()
    if version.source in _LISTS:
        return CanonicalModel(version.provider, version.provider, version.model, name)
    found = canonical_model(service, model, day)
    if found is not None:
        return found
    platform = service_name(service) or version.provider.lower()
    own_name = model.strip() if "*" in version.model else version.model
    return CanonicalModel(platform, version.provider.lower() or platform, own_name, name)


_LISTS = frozenset({PriceSource.LITELLM.value, PriceSource.OPENROUTER.value})


class _Period:
    """A price version, compiled on first use for each model that it is the price of."""

    def __init__(self, version: PriceVersion) -> None:
        self.version = version
        self._compiled: dict[tuple[str, str, _Meant], CompiledPrices] = {}

    def price(self, service: str, model: str, day: date) -> CompiledPrices:
        key = (service, model, _meant(service, model, day))
        compiled = self._compiled.get(key)
        if compiled is None:
            if len(self._compiled) >= _MAX_COMPILED:
                self._compiled.clear()
            compiled = compile_price(self.version, called_model(self.version, service, model, day), day)
            self._compiled[key] = compiled
        return compiled


_Meant: TypeAlias = tuple[CanonicalModel, int] | None


@lru_cache(maxsize=8192)
def _meant(service: str, model: str, day: date) -> _Meant:
    """Return the model that the names mean on a day, and how many of its declared prices have begun."""
    found = canonical_model(service, model, day)
    return (found, sum(day >= start for start in declared_starts(found))) if found is not None else None


class PriceTimeline:
    """The versions of one (provider, model) with one name, ordered by time. There may be gaps."""

    def __init__(self, periods: Iterable[_Period]) -> None:
        self._periods = sorted(periods, key=lambda period: period.version.effective_from)
        self._starts = [period.version.effective_from for period in self._periods]

    def at(self, instant: datetime) -> _Period | None:
        """Return the period with `effective_from <= instant < effective_to`."""
        position = bisect_right(self._starts, instant)
        if position == 0:
            return None
        period = self._periods[position - 1]
        effective_to = period.version.effective_to
        if effective_to is not None and instant >= effective_to:
            return None
        return period

    def changes_on(self, day: date) -> bool:
        """Whether a version begins or ends after midnight (UTC) and before the next one."""
        midnight = utc_midnight(day)
        next_midnight = midnight + timedelta(days=1)
        return any(
            instant is not None and midnight < instant < next_midnight
            for period in self._periods
            for instant in (period.version.effective_from, period.version.effective_to)
        )


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


@dataclass(frozen=True)
class _SharedPrices:
    """Everyone's prices: manual ones, those of the catalog, and those of other price lists."""

    manual: PriceIndex
    catalog: PriceIndex
    lists: PriceIndex

    @classmethod
    def load(cls) -> "_SharedPrices":
        by_source: dict[str, list[PriceVersion]] = defaultdict(list)
        for version in _versions_of(None):
            by_source[version.source].append(version)
        return cls(
            PriceIndex(by_source[PriceSource.MANUAL]),
            PriceIndex(by_source[PriceSource.CATALOGUE]),
            PriceIndex([*by_source[PriceSource.LITELLM], *by_source[PriceSource.OPENROUTER]]),
        )


def _versions_of(organization_id: int | None) -> Iterable[PriceVersion]:
    return PriceVersion.objects.filter(organization=organization_id).in_force().order_by("id")


# Together they bound the memory, because organizations may send any number of model names.
_MAX_ORGANIZATIONS = 512
_MAX_MODELS = 512
_MAX_DAYS = 2048

RECENT_SECONDS = 1.0


class ModelIdentity(NamedTuple):
    """The name by which limits, filters and reports know a model, and who bills it (empty: unknown)."""

    model: str
    provider: str


class PriceBook:
    """An organization's own prices and agreements, with the shared prices of everyone as fallback."""

    def __init__(self, own: PriceIndex, shared: _SharedPrices, agreements: Iterable[Agreement] = ()) -> None:
        self.agreements = tuple(agreements)
        self._timelines = lru_cache(_MAX_MODELS)(partial(_timelines_by_priority, own, shared))
        self._days: dict[tuple[str, str, date], CompiledPrices | None] = {}
        self.confirmed_at = 0.0
        """When the prices were last known to be current, on the monotonic clock."""
        self.revisions = (0, 0)
        """Of the organization's prices and of everyone's."""

    def find(self, service: str, model: str, occurred_at: datetime) -> CompiledPrices | None:
        """Return the price in effect at that time: the organization's own if there is one, else everyone's."""
        day = (occurred_at if occurred_at.tzinfo is UTC else occurred_at.astimezone(UTC)).date()
        key = (service, model, day)
        if key in self._days:
            return self._days[key]
        timelines = self._timelines(service, model, canonical_model(service, model, day))
        periods = (period for timeline in timelines if (period := timeline.at(occurred_at)) is not None)
        period = next(periods, None)
        price = period.price(service, model, day) if period is not None else None
        if not any(timeline.changes_on(day) for timeline in timelines):
            if len(self._days) >= _MAX_DAYS:
                self._days.clear()
            self._days[key] = price
        return price

    def identify(self, service: str, model: str, occurred_at: datetime) -> ModelIdentity:
        """Return how limits, filters and reports know a model and who bills it, from the names as sent."""
        model = clean_name(model)
        if not model:
            return ModelIdentity("", service_name(service))
        price = self.find(service, model, occurred_at)
        day = occurred_at.astimezone(UTC).date()
        found = price.model if price is not None else canonical_model(service, model, day)
        if found is None:
            return ModelIdentity(model_identity(model, day), service_name(service))
        return ModelIdentity(model_identity(found.model, day), found.platform)

    def quote(self, call: Call) -> Quote:
        """Return the cost of a call with its lines, or the reason why it is unknown."""
        if not call.model:
            return Quote(reason=UnpricedReason.NO_MODEL)
        price = self.find(call.service, call.model, call.occurred_at)
        if not call.has_usage and (price is None or not price.charges_requests):
            return Quote(reason=UnpricedReason.NO_USAGE)
        return quote_at(price, call, self.agreements)


def quote_at(price: CompiledPrices | None, call: Call, agreements: Iterable[Agreement] = ()) -> Quote:
    """Return the cost of a call at a price."""
    if price is None:
        return Quote(reason=UnpricedReason.NO_PRICE)
    quote = quote_calls(
        call.requests,
        model=price.model,
        attributes=call.attributes,
        at=call.occurred_at,
        prices=price,
        agreements=agreements,
        sum_of=call.sum_of,
    )
    return replace(quote, price_version_id=price.price_version_id)


def _timelines_by_priority(
    own: PriceIndex, shared: _SharedPrices, service: str, model: str, meant: CanonicalModel | None
) -> tuple[PriceTimeline, ...]:
    """Return every timeline that could price the model, in the order that docs/prices.md defines."""
    if not model:
        return ()
    names = [(service, model), ("", model)]
    prefix, slash, rest = model.partition("/")
    if slash and not service:
        names += [(prefix, rest), ("", rest)]
    if meant is not None:
        names += [(meant.provider, model), (meant.provider, meant.model)]
    elif (provider := catalog_provider(service)) is not None:
        names.append((provider, model))
    timelines = [*_named(own, names), *_named(shared.manual, names)]
    if meant is not None:
        timelines += shared.catalog.find(meant.provider, meant.model)
    provider = service_name(service if service or not slash else prefix)
    listed = [(provider, model), *([(provider, rest)] if slash else [])]
    # Gateways that pass calls on have lists of their own, which name the vendor with the model.
    timelines += _named(shared.lists, [*listed, *([("", model)] if not service_name(service) else [])])
    return tuple(dict.fromkeys(timelines))


def _named(index: PriceIndex, names: Iterable[tuple[str, str]]) -> Iterable[PriceTimeline]:
    return (timeline for provider, name in names for timeline in index.find(provider, name))


_price_books: RevisionCache[int, tuple[int, int], PriceBook] = RevisionCache(_MAX_ORGANIZATIONS)
_shared_prices: RevisionCache[None, int, _SharedPrices] = RevisionCache(1)
_loading_shared_prices = threading.Lock()


def price_book(organization_id: int) -> PriceBook:
    """Return the organization's current prices. Call it for each batch."""
    scope = Q(organization=None) | Q(organization=organization_id)
    revisions: dict[int | None, int] = dict(
        PriceBookRevision.objects.filter(scope).values_list("organization_id", "revision")
    )
    own, shared = revisions.get(organization_id, 0), revisions.get(None, 0)

    def load() -> PriceBook:
        versions = PriceIndex(_versions_of(organization_id))
        # Without a revision the organization never had a price or an agreement.
        agreements = agreements_of(organization_id) if own else ()
        return PriceBook(versions, _shared_index(shared), agreements)

    prices = _price_books.get_or_load(organization_id, (own, shared), load)
    prices.confirmed_at = time.monotonic()
    prices.revisions = (own, shared)
    return prices


def unconfirmed_price_book(organization_id: int) -> PriceBook:
    """Return the prices that this process has cached, without a check. The caller must compare the revisions later."""
    return _price_books.peek(organization_id) or price_book(organization_id)


def shared_price_book(*, without_lists: bool = False) -> PriceBook:
    """Return everyone's prices as they are in the database."""
    shared = _SharedPrices.load()
    return PriceBook(PriceIndex(()), replace(shared, lists=PriceIndex(())) if without_lists else shared)


def cached_price_book(organization_id: int) -> PriceBook:
    """Return the organization's prices, up to one second old and mostly without a query. For estimates."""
    prices = _price_books.peek(organization_id)
    if prices is not None and prices.confirmed_at > time.monotonic() - RECENT_SECONDS:
        return prices
    return price_book(organization_id)


def identify_model(organization_id: int, name: str, *, service: str = "", now: datetime) -> str:
    """Return the name by which limits, filters and reports know a model that a caller names in any spelling."""
    return cached_price_book(organization_id).identify(service, name, now).model if name else ""


def agreements_of(organization_id: int) -> tuple[Agreement, ...]:
    """Return the organization's agreements, those that name a provider, models and kinds first."""
    rows = AgreementRow.objects.filter(organization=organization_id).order_by("id")
    return tuple(map(_agreement, sorted(rows, key=_how_general)))


def _agreement(row: AgreementRow) -> Agreement:
    return Agreement(
        service_name(row.provider) or row.provider.lower(),
        tuple(row.model_patterns) or ("*",),
        row.discount_percent,
        prices_from_json(row.unit_prices),
        tuple(row.kinds),
        row.starts_at,
        row.ends_at,
    )


def _how_general(row: AgreementRow) -> tuple[bool, bool, bool]:
    return row.provider == "*", not row.model_patterns, not row.kinds and not row.unit_prices


def _shared_index(revision: int) -> _SharedPrices:
    """Return everyone's prices, compiled once for all organizations. Other threads wait meanwhile."""
    with _loading_shared_prices:
        return _shared_prices.get_or_load(None, revision, _SharedPrices.load)
