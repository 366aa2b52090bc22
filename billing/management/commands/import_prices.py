"""`import_prices`: import the genai-prices catalog, or another price list, into everyone's prices."""

from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from billing.management.price_list_files import load_price_list
from billing.pricing.catalog_import import (
    Coverage,
    CreatedPrice,
    EndedPrice,
    ImportReport,
    compare_list,
    import_catalog,
    import_list,
)
from billing.pricing.kind_prices import KindPrices
from billing.pricing.kinds import KINDS
from billing.pricing.price_lists import ListedPrice, read_litellm_map, read_openrouter_list
from billing.types import PriceSource
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from costtrack.money import plain

_MAX_LINES = 50
_LOUD = 2
_GENAI_PRICES = "genai-prices"
_LISTS: Mapping[str, tuple[PriceSource, Callable[[Any], Iterator[ListedPrice]]]] = {
    "litellm": (PriceSource.LITELLM, read_litellm_map),
    "openrouter": (PriceSource.OPENROUTER, read_openrouter_list),
}


class Command(SchemaCommand):
    help = (
        "Updates everyone's prices to the installed genai-prices package, or adds the models of another price list "
        "that have no price yet. A second run changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Show what would change, without changing it.")
        parser.add_argument(
            "--format",
            choices=[_GENAI_PRICES, *_LISTS],
            default=_GENAI_PRICES,
            help="litellm: LiteLLM's model_prices_and_context_window.json. openrouter: its list of models.",
        )
        parser.add_argument("location", nargs="?", help="The file or URL of the price list.")

    def handle(
        self,
        *,
        dry_run: bool,
        verbosity: int,
        format: str = _GENAI_PRICES,  # noqa: A002 - named like the option
        location: str | None = None,
        **_: Any,
    ) -> None:
        write = self.stdout.write if verbosity else _write_nothing
        with transaction.atomic():
            if format == _GENAI_PRICES:
                write("Comparing the genai-prices catalog with everyone's prices ...")
                report = import_catalog(now=utc_now())
            else:
                report = _import_list(format, location, write, loud=verbosity >= _LOUD)
            transaction.set_rollback(dry_run)
        _write_some([*map(_created_line, report.created), *map(_ended_line, report.ended)], write, verbosity)
        for line in _remarks(report, loud=verbosity >= _LOUD):
            write(line)
        write(self.style.SUCCESS(_summary(report, dry_run=dry_run)))


def _import_list(format: str, location: str | None, write: Callable[[str], Any], *, loud: bool) -> ImportReport:  # noqa: A002
    """Compare the list with the stored prices and show the differences, then add the missing models."""
    if location is None:
        raise CommandError(f"Name the file or the URL of the list: import_prices --format {format} FILE.")
    source, read = _LISTS[format]
    now = utc_now()
    coverage = compare_list(read(load_price_list(location)), now=now)
    for line in _coverage_lines(coverage, loud=loud):
        write(line)
    return import_list(coverage, source, now=now)


def _coverage_lines(coverage: Coverage, *, loud: bool) -> Iterator[str]:
    yield (
        f"{coverage.listed} models are listed, {coverage.priced} of them have a price here, which takes precedence; "
        f"{len(coverage.missing)} have none and are added. {len(coverage.differences)} prices differ."
    )
    differences = [
        f"  ! {different.label}: "
        + ", ".join(f"{kind} {_or_none(own)} here, {_or_none(other)} there" for kind, (own, other) in kinds.items())
        for different in coverage.differences
        if (kinds := different.unit_prices)
    ]
    yield from differences if loud else differences[:_MAX_LINES]
    if not loud and len(differences) > _MAX_LINES:
        yield f"  ... and {len(differences) - _MAX_LINES} more differences (--verbosity 2 shows all)"
    if coverage.unread:
        names = sorted({name for _, unread in coverage.unread for name in unread})
        yield f"{len(coverage.unread)} models have prices that are not read: {', '.join(names)}."


def _or_none(price: Decimal | None) -> str:
    return "none" if price is None else plain(price)


def _write_some(lines: list[str], write: Callable[[str], Any], verbosity: int) -> None:
    shown = lines if verbosity >= _LOUD else lines[:_MAX_LINES]
    for line in shown:
        write(f"  {line}")
    if len(shown) < len(lines):
        write(f"  ... and {len(lines) - len(shown)} more changes (--verbosity 2 shows all)")


def _write_nothing(line: str) -> None:
    """The reporter for --verbosity 0, which shows nothing."""


def _summary(report: ImportReport, *, dry_run: bool) -> str:
    if report.is_empty:
        return f"Nothing changed: {report.unchanged} models are up to date."
    counts = f"{len(report.created)} prices begin, {len(report.ended)} end, {report.unchanged} models are unchanged."
    return f"{'Dry run, nothing was written' if dry_run else 'Done'}: {counts}"


def _remarks(report: ImportReport, *, loud: bool) -> Iterator[str]:
    for labels, text in (
        (report.skipped, "have no price in the catalog and were skipped"),
        (report.set_manually, "have a manual price and were not changed"),
        (report.vanished, "are no longer in the catalog and keep their price"),
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


def _prices(prices: KindPrices) -> str:
    rates = prices.rates
    texts = [*_amounts(rates.unit_prices), *(_tier(above, unit_prices) for above, unit_prices in rates.tiers)]
    conditions = len(prices.conditions)
    return ", ".join([*texts, f"{conditions} conditions"] if conditions else texts)


def _amounts(unit_prices: Mapping[str, Decimal]) -> list[str]:
    return [f"{kind} {plain(price)}" for kind, price in unit_prices.items()]


def _tier(above: int, unit_prices: Mapping[str, Decimal]) -> str:
    return f"above {above} tokens: {' '.join(_amounts(unit_prices))}"


def _difference(old: KindPrices, new: KindPrices) -> str:
    """Return only the differences, such as `input 3 -> 2.5`."""
    changes = []
    for kind in KINDS:
        before, after = old.rates.unit_prices.get(kind), new.rates.unit_prices.get(kind)
        if before != after:
            changes.append(f"{kind} {_or_none(before)} -> {_or_none(after)}")
    if old.rates.tiers != new.rates.tiers:
        texts = [
            "; ".join(_tier(above, unit_prices) for above, unit_prices in rates.tiers) or "no tiers"
            for rates in (old.rates, new.rates)
        ]
        changes.append(" -> ".join(texts))
    if old.conditions != new.conditions:
        changes.append(f"{len(old.conditions)} -> {len(new.conditions)} conditions")
    return ", ".join(changes)
