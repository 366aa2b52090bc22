"""`reprice`: reprice the usage of a period at current prices; without --apply show what would change."""

from argparse import ArgumentParser
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError

from billing.ledger.reprice import Selection
from billing.ledger.repricings import reprice
from billing.management.console import organizations_by_slug, progress_bar, repricing_table
from billing.models import Repricing
from costtrack.calendar import Calendar
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from costtrack.dates import parse_end, parse_start
from costtrack.errors import DomainError
from costtrack.money import plain
from organizations.models import Organization


class Command(SchemaCommand):
    help = (
        "Reprices the usage of a period at current prices, by adjustments. Safe to repeat. "
        "Dates are days in the organization's time zone; times without an offset are UTC."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", required=True)
        parser.add_argument("--from", dest="start", metavar="TIME", required=True, help="A date, or a time.")
        parser.add_argument("--to", dest="end", metavar="TIME", required=True, help="A date (included), or a time.")
        parser.add_argument("--service", default="", help="Only calls of this service.")
        parser.add_argument("--model", default="", help="Only calls of this model.")
        parser.add_argument(
            "--apply", action="store_true", help="Change the costs. Without it, only show what would change."
        )
        parser.add_argument("--reason", default="", help="The reason; required with --apply.")

    def handle(self, *args: Any, **options: Any) -> None:
        (organization,) = organizations_by_slug(options["organization"])
        start = _instant("--from", options["start"], parse_start, organization.calendar)
        end = _instant("--to", options["end"], parse_end, organization.calendar)
        try:
            done = self._reprice(organization, Selection(start, end, options["service"], options["model"]), options)
        except DomainError as error:
            raise CommandError(error.message) from None
        if done.by_model:
            self.stdout.write(repricing_table(done))
        self.stdout.write(_summary(done))

    def _reprice(self, organization: Organization, selection: Selection, options: dict[str, Any]) -> Repricing:
        with progress_bar("Repricing", self.stderr) as bar:
            task = bar.add_task(organization.slug, total=None)
            return reprice(
                organization=organization,
                selection=selection,
                dry_run=not options["apply"],
                reason=options["reason"],
                actor="system",
                now=utc_now(),
                progress=lambda repricing: bar.update(task, total=repricing.total, completed=repricing.processed),
            )


def _summary(done: Repricing) -> str:
    if not done.changed:
        return f"Nothing changes. Calls repriced: {done.events:,}."
    counts = f"{done.changed:,} of {done.events:,} calls, {plain(done.difference_usd)} USD in total"
    return f"Dry run, nothing was written; would change: {counts}." if done.dry_run else f"Changed: {counts}."


def _instant(option: str, text: str, parse: Callable[[str, Calendar], datetime], calendar: Calendar) -> datetime:
    try:
        return parse(text, calendar)
    except ValueError:
        raise CommandError(f"{option}: {text} is not a date or a time, such as 2026-11-02T09:00:00Z.") from None
