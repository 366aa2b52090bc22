"""Import of the catalogue into everyone's prices. Idempotent; keeps history and reports changes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from billing.models import PriceVersion
from billing.pricing.catalogue import Catalogue, CatalogueEntry, read_catalogue
from billing.pricing.price_fields import price_columns, unit_prices_of
from billing.pricing.services import announce_price_change, lock_prices
from billing.pricing.timeline import NewVersion, StoredVersion, plan_changes
from billing.pricing.types import UnitPrices
from billing.types import PriceSource
from organizations import audit

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class CreatedPrice:
    """A new version, and the previous prices of the model at its start (None if there were none)."""

    label: str
    effective_from: datetime
    old: UnitPrices | None
    new: UnitPrices


@dataclass(frozen=True, slots=True)
class EndedPrice:
    """A version whose end moved to `effective_to`; None means that it has no end again."""

    label: str
    effective_from: datetime
    effective_to: datetime | None
    prices: UnitPrices


@dataclass(slots=True)
class ImportReport:
    """The result of an import. Labels are `provider/model`; `unchanged` and `renamed` count models."""

    created: list[CreatedPrice] = field(default_factory=list)
    ended: list[EndedPrice] = field(default_factory=list)
    unchanged: int = 0
    renamed: int = 0
    skipped: tuple[str, ...] = ()
    time_of_day: tuple[str, ...] = ()
    set_manually: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing had to change."""
        return not (self.created or self.ended or self.renamed)


@transaction.atomic
def import_catalogue(*, now: datetime, actor: str = "system") -> ImportReport:
    """Update everyone's prices to the installed genai-prices package.

    Models that are no longer in the catalogue keep their price. Models with a manual price are not changed.
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
    """The rows that an import has to write, and its report."""

    def __init__(self, catalogue: Catalogue, now: datetime) -> None:
        self._now = now
        self._new: list[PriceVersion] = []
        self._changed: dict[int, PriceVersion] = {}
        self.report = ImportReport(skipped=catalogue.skipped, time_of_day=catalogue.time_of_day)
        imported: dict[tuple[str, str], list[PriceVersion]] = defaultdict(list)
        manual: set[tuple[str, str]] = set()
        for row in PriceVersion.objects.catalogue().in_force().order_by("effective_from", "id"):
            if row.source == PriceSource.CATALOGUE:
                imported[row.provider, row.model].append(row)
            else:
                manual.add((row.provider.lower(), row.model.lower()))
        for entry in catalogue.entries:
            rows = imported.pop((entry.provider, entry.model), [])
            if (entry.provider.lower(), entry.model.lower()) in manual:
                self.report.set_manually.append(_label(entry))
            else:
                self._compare(entry, rows)
        self.report.vanished = [f"{provider}/{model}" for provider, model in imported]

    def write(self) -> None:
        PriceVersion.objects.bulk_update(self._changed.values(), ["effective_to", "aliases"], batch_size=_CHUNK)
        PriceVersion.objects.bulk_create(self._new, batch_size=_CHUNK)

    def _compare(self, entry: CatalogueEntry, rows: Sequence[PriceVersion]) -> None:
        stored = [StoredVersion(row.pk, row.effective_from, row.effective_to, unit_prices_of(row)) for row in rows]
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

    def _begin(self, entry: CatalogueEntry, begin: NewVersion, stored: Sequence[StoredVersion]) -> None:
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
        old = next((version.prices for version in stored if version.holds_at(begin.effective_from)), None)
        self.report.created.append(CreatedPrice(_label(entry), begin.effective_from, old, begin.prices))


def _label(entry: CatalogueEntry) -> str:
    return f"{entry.provider}/{entry.model}"
