"""`reread_usage`: read stored usage objects again after an upgrade; without --apply, show what would change."""

from argparse import ArgumentParser
from decimal import Decimal
from typing import Any

from billing.ingest.reread_usage import reread_usage
from billing.management.console import add_organization_argument, organizations_by_slug
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from costtrack.money import plain

_MAX_LINES = 50


class Command(SchemaCommand):
    help = (
        "Reads flagged and unreadable usage again and corrects counts and costs by adjustments. Safe to repeat. "
        "Run it after an upgrade."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_organization_argument(parser)
        parser.add_argument(
            "--apply", action="store_true", help="Change the events. Without it, only show what would change."
        )

    def handle(self, *, organization: str | None, apply: bool, **_: Any) -> None:
        for each in organizations_by_slug(organization):
            changed = 0
            for reread in reread_usage(organization=each, dry_run=not apply, now=utc_now()):
                changed += 1
                if changed <= _MAX_LINES:
                    event = reread.event
                    costs = f"{_cost(reread.old_usd)} -> {_cost(reread.new_usd)}"
                    self.stdout.write(f"  {event.pk} {event.service} {event.model}: {costs}")
            done = "changed" if apply else "would change (nothing was written; repeat with --apply)"
            self.stdout.write(f"{each.slug}: {changed:,} events {done}.")


def _cost(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{plain(amount)} USD"
