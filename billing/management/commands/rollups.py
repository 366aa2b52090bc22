"""`rollups`: fold, verify, rebuild and pack the rollups, and drop old events."""

from argparse import ArgumentParser
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError

from billing.management.console import (
    ProgressDisplay,
    add_organization_argument,
    count_organizations,
    organizations_by_slug,
    parse_month,
    report_differences,
)
from billing.rollups.fold import fold, fold_organization
from billing.rollups.packing import pack_indexes
from billing.rollups.rebuild import rebuild
from billing.rollups.retention import drop_events, preview_drop
from billing.rollups.types import Checked, Dropped, Step
from billing.rollups.verify import verify
from costtrack.calendar import utc_midnight
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from costtrack.dates import parse_day
from costtrack.errors import DomainError

_MAX_DIFFERENCES = 5


class Command(SchemaCommand):
    help = "Maintains the rollups that reports read."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="action")
        actions.add_parser("fold", help="Fold unfolded batches.")
        check = actions.add_parser("verify", help="Compare all rollups with the ledger. Exit code 1 if they differ.")
        add_organization_argument(check)
        rebuild_ = actions.add_parser("rebuild", help="Rebuild the rollups from the ledger. Intake continues.")
        add_organization_argument(rebuild_)
        rebuild_.add_argument("--from", dest="first", metavar="DATE", help="Only from this day on (UTC).")
        rebuild_.add_argument("--to", dest="last", metavar="DATE", help="Only until the end of this day (UTC).")
        actions.add_parser("pack", help="Rebuild the indexes of the rollups, so that they take less space.")
        retain = actions.add_parser("retain", help="Drop old events. Totals do not change.")
        add_organization_argument(retain)
        retain.add_argument(
            "--before", required=True, metavar="YYYY-MM", help="Drop events received before this month (UTC)."
        )
        retain.add_argument("--dry-run", action="store_true", help="Show what would be dropped, without dropping it.")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        actions: dict[str, Callable[..., None]] = {
            "fold": self._fold,
            "verify": self._verify,
            "rebuild": self._rebuild,
            "pack": self._pack,
            "retain": self._retain,
        }
        try:
            actions[action](**options)
        except DomainError as error:
            raise CommandError(error.message) from None

    def _fold(self, **_: Any) -> None:
        done = fold(now=utc_now())
        self.stdout.write(f"{done.events:,} events of {done.batches:,} batches folded.")

    def _verify(self, *, organization: str | None, **_: Any) -> None:
        checks: list[tuple[str, Checked]] = []
        organizations = organizations_by_slug(organization)
        with ProgressDisplay("Verifying", self.stderr, organizations) as progress:
            for tenant in organizations:
                checked = verify(organization_id=tenant.pk, now=utc_now(), progress=progress.step)
                checks += [(tenant.slug, check) for check in checked]
        match = f"All rollups of {count_organizations(organizations)} match the ledger."
        differ = "rows differ from the ledger. `costtrack rollups rebuild` corrects them."
        report_differences(self.stdout, checks, _MAX_DIFFERENCES, match=match, differ=differ)

    def _rebuild(self, *, organization: str | None, first: str | None, last: str | None, **_: Any) -> None:
        start, end = _midnight("--from", first), _midnight("--to", last)
        if end is not None:
            end += timedelta(days=1)
        if start is not None and end is not None and start >= end:
            raise CommandError("--to: Must not be before --from.")
        organizations = organizations_by_slug(organization)
        with ProgressDisplay("Rebuilding", self.stderr, organizations) as progress:

            def fold_between(step: Step) -> None:
                progress.step(step)
                # Other workers cannot fold the organization's batches now.
                fold_organization(organization_id=step.organization_id, now=utc_now())

            for tenant in organizations:
                corrected = rebuild(organization_id=tenant.pk, start=start, end=end, progress=fold_between)
                self.stdout.write(f"{tenant.slug}: {_corrections(corrected)}")

    def _pack(self, **_: Any) -> None:
        self.stdout.write(f"{_megabytes(pack_indexes())} of disk space freed.")

    def _retain(self, *, organization: str | None, before: str, dry_run: bool, **_: Any) -> None:
        chosen = organizations_by_slug(organization)[0] if organization else None
        month = parse_month("--before", before)
        dropped_tables: list[Dropped] = []

        def report(dropped: Dropped) -> None:
            dropped_tables.append(dropped)
            self.stdout.write(_dropped_line(dropped))

        if dry_run:
            for dropped in preview_drop(before=month, organization=chosen, now=utc_now()):
                report(dropped)
        else:
            drop_events(before=month, organization=chosen, actor="system", now=utc_now(), report=report)
        events, size = sum(table.events for table in dropped_tables), sum(table.bytes for table in dropped_tables)
        verb = "would be dropped" if dry_run else "were dropped"
        self.stdout.write(f"{events:,} events {verb}; {_megabytes(size)} of disk space freed.")


def _midnight(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return utc_midnight(parse_day(text))
    except ValueError:
        raise CommandError(f"{option}: {text} is not a date such as 2026-01-31.") from None


def _corrections(corrected: dict[str, int]) -> str:
    rows = [f"{number:,} of {name}" for name, number in corrected.items() if number]
    return f"rows corrected: {', '.join(rows)}" if rows else "nothing to correct"


def _dropped_line(dropped: Dropped) -> str:
    whose = "1 organization" if dropped.organizations == 1 else f"{dropped.organizations:,} organizations"
    space = _megabytes(dropped.bytes) if dropped.bytes else "in a partition shared with others, which stays"
    return f"{dropped.month:%Y-%m}: {dropped.events:,} events of {whose}, {space}"


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
