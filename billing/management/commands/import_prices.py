"""`import_prices`: import the genai-prices catalogue into everyone's prices."""

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import transaction

from billing.pricing.catalogue_import import CreatedPrice, EndedPrice, ImportReport, import_catalogue
from billing.pricing.types import PriceKind, Tier, UnitPrices
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from costtrack.money import plain

_MAX_LINES = 50
_LOUD = 2


class Command(SchemaCommand):
    help = "Updates everyone's prices to the installed genai-prices package. A second run changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Show what would change, without changing it.")

    def handle(self, *, dry_run: bool, verbosity: int, **_: Any) -> None:
        write = self.stdout.write if verbosity else _write_nothing
        write("Comparing the genai-prices catalogue with everyone's prices ...")
        with transaction.atomic():
            report = import_catalogue(now=utc_now())
            transaction.set_rollback(dry_run)
        lines = [*map(_created_line, report.created), *map(_ended_line, report.ended)]
        shown = lines if verbosity >= _LOUD else lines[:_MAX_LINES]
        for line in shown:
            write(f"  {line}")
        if len(shown) < len(lines):
            write(f"  ... and {len(lines) - len(shown)} more changes (--verbosity 2 shows all)")
        for line in _remarks(report, loud=verbosity >= _LOUD):
            write(line)
        write(self.style.SUCCESS(_summary(report, dry_run=dry_run)))


def _write_nothing(line: str) -> None:
    """For --verbosity 0."""


def _summary(report: ImportReport, *, dry_run: bool) -> str:
    if report.is_empty:
        return f"Nothing changed: {report.unchanged} models are up to date."
    counts = f"{len(report.created)} prices begin, {len(report.ended)} end, {report.unchanged} models are unchanged."
    return f"{'Dry run, nothing was written' if dry_run else 'Done'}: {counts}"


def _remarks(report: ImportReport, *, loud: bool) -> Iterator[str]:
    for labels, text in (
        (report.skipped, "have no price per token or request in the catalogue and were skipped"),
        (report.time_of_day, "have prices for certain hours of the day, which were skipped"),
        (report.set_manually, "have a manual price and were not changed"),
        (report.vanished, "are no longer in the catalogue and keep their price"),
    ):
        if labels:
            yield f"{len(labels)} models {text}{': ' + ', '.join(labels) if loud else ''}."


def _created_line(created: CreatedPrice) -> str:
    since = f" from {_day(created.effective_from)}" if created.effective_from.year > 1970 else ""  # noqa: PLR2004
    if created.old is None:
        return f"+ {created.label}{since}: {_prices(created.new)}"
    return f"~ {created.label}{since}: {_difference(created.old, created.new)}"


def _ended_line(ended: EndedPrice) -> str:
    if ended.effective_to is None:
        return f"= {ended.label}: continues at {_prices(ended.prices)}"
    return f"- {ended.label}: ends {_day(ended.effective_to)}, was {_prices(ended.prices)}"


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}".removesuffix(" 00:00")


def _prices(prices: UnitPrices) -> str:
    texts = [*_amounts(prices.unit_prices), *map(_tier, prices.tiers)]
    return ", ".join(texts)


def _amounts(unit_prices: dict[PriceKind, Any]) -> list[str]:
    return [f"{kind.value} {plain(price)}" for kind, price in unit_prices.items()]


def _tier(tier: Tier) -> str:
    return f"above {tier.above_input_tokens} tokens: {' '.join(_amounts(tier.unit_prices))}"


def _difference(old: UnitPrices, new: UnitPrices) -> str:
    """Return only the differences, such as `input 3 -> 2.5`."""
    changes = []
    for kind in PriceKind:
        before, after = old.unit_prices.get(kind), new.unit_prices.get(kind)
        if before != after:
            texts = ["none" if price is None else plain(price) for price in (before, after)]
            changes.append(f"{kind.value} {' -> '.join(texts)}")
    if old.tiers != new.tiers:
        texts = ["; ".join(map(_tier, tiers)) or "no tiers" for tiers in (old.tiers, new.tiers)]
        changes.append(" -> ".join(texts))
    return ", ".join(changes)
