"""`compare_prices`: price the same calls by the catalog and by LiteLLM's map, and list the differences with their
causes."""

from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from billing.management.price_list_files import load_price_list
from billing.pricing.known_differences import UNEXPLAINED
from billing.pricing.price_lists import read_litellm_map
from billing.pricing.sweep import Difference, Sweep, sweep
from costtrack.clock import utc_now
from costtrack.money import plain

_NOON = 12
_INTRODUCTION = """\
# Prices that differ from LiteLLM's map

`compare_prices` generates this page ([prices](prices.md#comparing-with-litellms-map)). It prices the same calls by the
catalog with its declared corrections, and by LiteLLM's map of {day}: 1,000 input and 500 output tokens with 2,000
cached tokens, above each context size at which a price changes, and with each service tier, speed and region in the
map, at noon UTC.

The map has {listed:,} models; {models:,} of them have a price in both. {same:,} of their {calls:,} calls cost the same.
The differences by cause:
"""


class Command(BaseCommand):
    help = (
        "Prices the same calls by the catalog and by LiteLLM's model_prices_and_context_window.json, and writes the "
        "differences with their causes. It needs no database."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("location", help="The file or URL of LiteLLM's map.")
        parser.add_argument("--output", help="The Markdown file to write. Without it, the page is printed.")

    def handle(self, *, location: str, output: str | None = None, **_: Any) -> None:
        now = utc_now()
        found = sweep(read_litellm_map(load_price_list(location)), at=now.replace(hour=_NOON))
        page = "\n".join(_page(found, now))
        if output is None:
            self.stdout.write(page)
        else:
            Path(output).write_text(page, encoding="utf-8")
        unexplained = sum(difference.cause == UNEXPLAINED for difference in found.differences)
        summary = (
            f"{len(found.differences)} of {found.calls} calls differ, {unexplained} of them without a known cause."
        )
        self.stderr.write(self.style.WARNING(summary) if unexplained else summary)


def _page(found: Sweep, now: datetime) -> Iterator[str]:
    yield _INTRODUCTION.format(
        day=f"{now:%Y-%m-%d}",
        listed=found.listed,
        models=found.models,
        calls=found.calls,
        same=found.calls - len(found.differences),
    )
    by_cause: dict[str, list[Difference]] = defaultdict(list)
    for difference in found.differences:
        by_cause[difference.cause].append(difference)
    for cause, differences in sorted(by_cause.items(), key=lambda item: (-len(item[1]), item[0])):
        title, _, explanation = cause.partition(". ")
        yield f"## {title.rstrip('.')}\n"
        yield f"{len(differences)} calls. {explanation}".rstrip() + "\n"
        yield "| provider | model | call | costtrack | LiteLLM's map |"
        yield "| --- | --- | --- | --- | --- |"
        yield from sorted({_row(difference) for difference in differences})
        yield ""


def _row(difference: Difference) -> str:
    here = _usd(difference.here_usd)
    model = difference.model.replace("|", "\\|")
    return f"| {difference.provider or 'any'} | {model} | {difference.call} | {here} | {_usd(difference.listed_usd)} |"


def _usd(amount: Decimal | None) -> str:
    return "unknown" if amount is None else plain(amount)
