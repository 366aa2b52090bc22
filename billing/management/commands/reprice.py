"""`reprice`: reprice the usage of a period at current prices; without --apply show what would change."""

from argparse import ArgumentParser
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.core.management.base import CommandError

from billing.ledger.reprice import Selection
from billing.ledger.repricings import reprice
from billing.management.console import organizations_by_slug, progress_bar, repricing_table
from billing.models import Repricing
from costtrack.calendar import utc_midnight
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from costtrack.errors import DomainError
from costtrack.money import plain
from organizations.models import Organization


class Command(SchemaCommand):
    help = "Reprices the usage of a period at current prices, by adjustments. Safe to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", required=True)
        parser.add_argument("--from", dest="start", metavar="TIME", required=True, help="A date, or a time in UTC.")
        parser.add_argument("--to", dest="end", metavar="TIME", required=True, help="A date (included), or a time.")
        parser.add_argument("--service", default="", help="Only calls of this service.")
        parser.add_argument("--model", default="", help="Only calls of this model.")
        parser.add_argument(
            "--apply", action="store_true", help="Change the costs. Without it, only show what would change."
        )
        parser.add_argument("--reason", default="", help="The reason; required with --apply.")

    def handle(self, *args: Any, **options: Any) -> None:
        (organization,) = organizations_by_slug(options["organization"])
        start, end = _start("--from", options["start"]), _end("--to", options["end"])
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


def _start(option: str, text: str) -> datetime:
    day = _day(text)
    return _instant(option, text) if day is None else utc_midnight(day)


def _end(option: str, text: str) -> datetime:
    """A date includes that day."""
    day = _day(text)
    return _instant(option, text) if day is None else utc_midnight(day + timedelta(days=1))


def _day(text: str) -> date | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a date has no time zone
    except ValueError:
        return None


def _instant(option: str, text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{option}: {text} is not a date or a time, such as 2026-11-02T09:00:00Z.") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
