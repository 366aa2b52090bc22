"""The catalogue into everyone's prices: idempotent, keeps history, and tells what it changed."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from billing.models import PriceVersion
from billing.pricing.catalogue import Catalogue, CatalogueEntry, read_catalogue
from billing.pricing.records import price_columns, unit_prices_of
from billing.pricing.services import announce_price_change, lock_prices
from billing.pricing.timeline import Begin, Held, plan_changes
from billing.pricing.types import UnitPrices
from billing.types import PriceSource
from organizations import audit

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class CreatedPrice:
    """A version that begins, and what the model cost at that instant until now (None: nothing was known)."""

    label: str
    effective_from: datetime
    old: UnitPrices | None
    new: UnitPrices


@dataclass(frozen=True, slots=True)
class EndedPrice:
    """A version whose end moved to `effective_to`; None: it holds for good again."""

    label: str
    effective_from: datetime
    effective_to: datetime | None
    prices: UnitPrices


@dataclass(slots=True)
class ImportReport:
    """What an import did. Labels are `provider/model`; `unchanged` and `renamed` count models."""

    created: list[CreatedPrice] = field(default_factory=list)
    ended: list[EndedPrice] = field(default_factory=list)
    unchanged: int = 0
    renamed: int = 0
    skipped: tuple[str, ...] = ()
    time_of_day: tuple[str, ...] = ()
    set_by_hand: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Nothing had to change."""
        return not (self.created or self.ended or self.renamed)


@transaction.atomic
def import_catalogue(*, now: datetime, actor: str = "system") -> ImportReport:
    """Bring everyone's prices to what the installed genai-prices package says.

    Models that it does not know any more keep their price, and a model with a price set by hand is left alone.
    """
    lock_prices(None)
    update = _Update(read_catalogue(), now)
    if not update.report.is_empty:
        update.write()
        counts = {"created": len(update.report.created), "ended": len(update.report.ended)}
        audit.record(organization=None, actor=actor, action="prices.imported", subject="genai-prices", **counts)
        announce_price_change(None)
    return update.report


class _Update:
    """What an import has to write, found out model by model, and the report of it."""

    def __init__(self, catalogue: Catalogue, now: datetime) -> None:
        self._now = now
        self._new: list[PriceVersion] = []
        self._changed: dict[int, PriceVersion] = {}
        self.report = ImportReport(skipped=catalogue.skipped, time_of_day=catalogue.time_of_day)
        imported: dict[tuple[str, str], list[PriceVersion]] = defaultdict(list)
        by_hand: set[tuple[str, str]] = set()
        for row in PriceVersion.objects.catalogue().in_force().order_by("effective_from", "id"):
            if row.source == PriceSource.CATALOGUE:
                imported[row.provider, row.model].append(row)
            else:
                by_hand.add((row.provider.lower(), row.model.lower()))
        for entry in catalogue.entries:
            rows = imported.pop((entry.provider, entry.model), [])
            if (entry.provider.lower(), entry.model.lower()) in by_hand:
                self.report.set_by_hand.append(_label(entry))
            else:
                self._compare(entry, rows)
        self.report.vanished = [f"{provider}/{model}" for provider, model in imported]

    def write(self) -> None:
        PriceVersion.objects.bulk_update(self._changed.values(), ["effective_to", "aliases"], batch_size=_CHUNK)
        PriceVersion.objects.bulk_create(self._new, batch_size=_CHUNK)

    def _compare(self, entry: CatalogueEntry, rows: Sequence[PriceVersion]) -> None:
        held = [Held(row.pk, row.effective_from, row.effective_to, unit_prices_of(row)) for row in rows]
        changes = plan_changes(held, entry.segments, self._now)
        row_of = {row.pk: row for row in rows}
        for begin in changes.begins:
            self._begin(entry, begin, held)
        for end in changes.ends:
            row = row_of[end.held.id]
            row.effective_to = end.effective_to
            self._changed[row.pk] = row
            self.report.ended.append(EndedPrice(_label(entry), row.effective_from, end.effective_to, end.held.prices))
        outdated = [row for row in rows if tuple(row.aliases) != entry.aliases]
        for row in outdated:
            row.aliases = list(entry.aliases)
            self._changed[row.pk] = row
        self.report.renamed += bool(outdated)
        self.report.unchanged += not (changes.begins or changes.ends or outdated)

    def _begin(self, entry: CatalogueEntry, begin: Begin, held: Sequence[Held]) -> None:
        self._new.append(
            PriceVersion(
                provider=entry.provider,
                model=entry.model,
                aliases=list(entry.aliases),
                effective_from=begin.effective_from,
                effective_to=begin.effective_to,
                source=PriceSource.CATALOGUE,
                **price_columns(begin.prices),
            )
        )
        old = next((version.prices for version in held if version.holds_at(begin.effective_from)), None)
        self.report.created.append(CreatedPrice(_label(entry), begin.effective_from, old, begin.prices))


def _label(entry: CatalogueEntry) -> str:
    return f"{entry.provider}/{entry.model}"
