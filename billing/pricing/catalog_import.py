"""Import of the catalog and of other price lists into everyone's prices. Idempotent; keeps history and reports
changes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from billing.models import PriceVersion
from billing.pricing.catalog import BEGINNING, Catalog, CatalogEntry, Segment, read_catalog
from billing.pricing.kind_prices import KindPrices
from billing.pricing.price_book import shared_price_book
from billing.pricing.price_fields import kind_prices_of, price_columns
from billing.pricing.price_lists import ListedPrice
from billing.pricing.services import announce_price_change, lock_prices
from billing.pricing.timeline import NewVersion, StoredVersion, plan_changes
from billing.types import PriceSource
from organizations import audit

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class CreatedPrice:
    """A new version, and the previous prices of the model at its start (None if there were none)."""

    label: str
    effective_from: datetime
    old: KindPrices | None
    new: KindPrices


@dataclass(frozen=True, slots=True)
class EndedPrice:
    """A version whose end moved to `effective_to`; None means that it has no end again."""

    label: str
    effective_from: datetime
    effective_to: datetime | None
    prices: KindPrices


@dataclass(slots=True)
class ImportReport:
    """The result of an import. Labels are `provider/model`; `unchanged` and `renamed` count models."""

    created: list[CreatedPrice] = field(default_factory=list)
    ended: list[EndedPrice] = field(default_factory=list)
    unchanged: int = 0
    renamed: int = 0
    skipped: tuple[str, ...] = ()
    set_manually: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing had to change."""
        return not (self.created or self.ended or self.renamed)


@transaction.atomic
def import_catalog(*, now: datetime, actor: str = "system") -> ImportReport:
    """Update everyone's prices to the installed genai-prices package.

    Models that are no longer in the catalog keep their price. Models with a manual price are not changed.
    """
    lock_prices(None)
    return _import(read_catalog(), PriceSource.CATALOGUE, "genai-prices", now, actor)


def _import(catalog: Catalog, source: PriceSource, subject: str, now: datetime, actor: str) -> ImportReport:
    update = _Update(catalog, source, now)
    if not update.report.is_empty:
        update.write()
        counts = {"created": len(update.report.created), "ended": len(update.report.ended)}
        audit.record(organization=None, actor=actor, action="prices.imported", subject=subject, **counts)
        announce_price_change(None)
    return update.report


@dataclass(frozen=True, slots=True)
class DifferentPrice:
    """A model that has a price here and another one in a list: unit prices by kind, ours and theirs."""

    label: str
    unit_prices: dict[str, tuple[Decimal | None, Decimal | None]]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How a price list compares with the prices here. What is priced here already is not imported: the catalog takes
    precedence. `unread` are prices of the list that could not be converted."""

    listed: int
    priced: int
    differences: tuple[DifferentPrice, ...]
    missing: tuple[ListedPrice, ...]
    unread: tuple[tuple[str, tuple[str, ...]], ...]


def compare_list(listed: Iterable[ListedPrice], *, now: datetime) -> Coverage:
    """Compare a price list with everyone's other prices."""
    shared = shared_price_book(without_lists=True)
    differences: list[DifferentPrice] = []
    missing: list[ListedPrice] = []
    unread: list[tuple[str, tuple[str, ...]]] = []
    count = 0
    for entry in listed:
        count += 1
        if entry.unread:
            unread.append((entry.model, entry.unread))
        if not entry.prices.rates.unit_prices:
            continue
        price = shared.find(entry.provider, entry.own_model, now)
        if price is None:
            missing.append(entry)
        elif different := _differences(price.unit_prices, entry.prices.rates.unit_prices):
            differences.append(DifferentPrice(entry.model, different))
    priced = count - len(missing)
    return Coverage(count, priced, tuple(differences), tuple(missing), tuple(unread))


def _differences(
    own: Mapping[str, Decimal], listed: Mapping[str, Decimal]
) -> dict[str, tuple[Decimal | None, Decimal | None]]:
    return {kind: (own.get(kind), price) for kind, price in listed.items() if own.get(kind) != price}


@transaction.atomic
def import_list(coverage: Coverage, source: PriceSource, *, now: datetime, actor: str = "system") -> ImportReport:
    """Add the prices of a list that are missing here to everyone's. Changes since an earlier import begin now."""
    lock_prices(None)
    entries: dict[tuple[str, str], CatalogEntry] = {}
    for entry in coverage.missing:
        prices = KindPrices(entry.prices.rates, entry.prices.conditions, source.value)
        model, full = entry.own_model, entry.model
        aliases = () if full == model else (full,)
        # The same model by two names of its provider is imported once.
        entries.setdefault(
            (entry.provider, model), CatalogEntry(entry.provider, model, aliases, (Segment(BEGINNING, prices),))
        )
    return _import(Catalog(tuple(entries.values()), ()), source, source.label, now, actor)


class _Update:
    """The rows that an import has to write, and its report."""

    def __init__(self, catalog: Catalog, source: PriceSource, now: datetime) -> None:
        self._source = source
        self._now = now
        self._new: list[PriceVersion] = []
        self._changed: dict[int, PriceVersion] = {}
        self.report = ImportReport(skipped=catalog.skipped)
        imported: dict[tuple[str, str], list[PriceVersion]] = defaultdict(list)
        manual: set[tuple[str, str]] = set()
        for row in PriceVersion.objects.catalog().in_force().order_by("effective_from", "id"):
            if row.source == source:
                imported[row.provider, row.model].append(row)
            elif row.source == PriceSource.MANUAL:
                manual.add((row.provider.lower(), row.model.lower()))
        for entry in catalog.entries:
            rows = imported.pop((entry.provider, entry.model), [])
            if (entry.provider.lower(), entry.model.lower()) in manual:
                self.report.set_manually.append(_label(entry))
            else:
                self._compare(entry, rows)
        self.report.vanished = [f"{provider}/{model}" for provider, model in imported]

    def write(self) -> None:
        PriceVersion.objects.bulk_update(self._changed.values(), ["effective_to", "aliases"], batch_size=_CHUNK)
        PriceVersion.objects.bulk_create(self._new, batch_size=_CHUNK)

    def _compare(self, entry: CatalogEntry, rows: Sequence[PriceVersion]) -> None:
        stored = [StoredVersion(row.pk, row.effective_from, row.effective_to, kind_prices_of(row)) for row in rows]
        changes = plan_changes(stored, entry.segments, self._now)
        row_of = {row.pk: row for row in rows}
        for begin in changes.begins:
            self._begin(entry, begin, stored)
        for end in changes.ends:
            row = row_of[end.stored.id]
            row.effective_to = end.effective_to
            self._changed[row.pk] = row
            self.report.ended.append(EndedPrice(_label(entry), row.effective_from, end.effective_to, end.stored.prices))
        outdated = [row for row in rows if tuple(row.aliases) != entry.aliases]
        for row in outdated:
            row.aliases = list(entry.aliases)
            self._changed[row.pk] = row
        self.report.renamed += bool(outdated)
        self.report.unchanged += not (changes.begins or changes.ends or outdated)

    def _begin(self, entry: CatalogEntry, begin: NewVersion, stored: Sequence[StoredVersion]) -> None:
        self._new.append(
            PriceVersion(
                provider=entry.provider,
                model=entry.model,
                aliases=list(entry.aliases),
                effective_from=begin.effective_from,
                effective_to=begin.effective_to,
                source=self._source,
                **price_columns(begin.prices),
            )
        )
        old = next((version.prices for version in stored if version.holds_at(begin.effective_from)), None)
        self.report.created.append(CreatedPrice(_label(entry), begin.effective_from, old, begin.prices))


def _label(entry: CatalogEntry) -> str:
    return f"{entry.provider}/{entry.model}"
