"""`archive`: write old events to Parquet files, verify these, and drop the events from the ledger."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from billing.archiving import Archived, Choice, archive_events, preview_archive
from billing.management.console import add_organization_argument, organizations_by_slug, parse_month
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from costtrack.errors import DomainError


class Command(SchemaCommand):
    help = (
        "Write events of old months to Parquet files, one for each organization and month of receipt, verify them and"
        " drop the events from the ledger. Totals do not change, and a retry is still a duplicate. Safe to repeat."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", metavar="TARGET", help="A folder (its absolute path), or s3://bucket/prefix.")
        add_organization_argument(parser)
        months = parser.add_mutually_exclusive_group(required=True)
        months.add_argument("--month", metavar="YYYY-MM", help="Only events received in this month (UTC).")
        months.add_argument("--before", metavar="YYYY-MM", help="Events received before this month (UTC).")
        parser.add_argument("--dry-run", action="store_true", help="Show what would be archived, and change nothing.")

    def handle(
        self, *, target: str, organization: str | None, month: str | None, before: str | None, dry_run: bool, **_: Any
    ) -> None:
        chosen = Choice(
            organizations_by_slug(organization),
            month=parse_month("--month", month) if month is not None else None,
            before=parse_month("--before", before) if before is not None else None,
        )
        archived: list[Archived] = []

        def report(done: Archived) -> None:
            archived.append(done)
            self.stdout.write(_line(done))

        try:
            if dry_run:
                for due in preview_archive(chosen=chosen, now=utc_now()):
                    report(due)
            else:
                archive_events(chosen=chosen, target=target, actor="system", now=utc_now(), report=report)
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(_summary(archived, dry_run=dry_run))


def _line(archived: Archived) -> str:
    line = f"{archived.organization.slug} {archived.month:%Y-%m}: {archived.events:,} events"
    return f"{line} in {archived.file} ({_per_event([archived])})" if archived.file else line


def _summary(archived: list[Archived], *, dry_run: bool) -> str:
    events = sum(each.events for each in archived)
    if dry_run:
        return f"{events:,} events would be archived."
    return f"{events:,} events were archived" + (f", {_per_event(archived)}." if events else ".")


def _per_event(archived: list[Archived]) -> str:
    size, events = sum(each.size_bytes for each in archived), sum(each.events for each in archived)
    return f"{size:,} bytes, {size / events:.1f} per event"
