"""`forget_person`: replace a person's id by a pseudonym."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Q

from billing.archives.replacing import count_events_of_person
from billing.erasure import erase_person
from billing.management.console import organizations_by_slug
from billing.models import UsageEvent
from costtrack.database.commands import SchemaCommand
from costtrack.errors import DomainError
from organizations.models import Organization


class Command(SchemaCommand):
    help = (
        "Replace a person's user ID by a pseudonym in the ledger, the rollups, limits, notices and the audit log of an"
        " organization. Amounts stay. It cannot be undone; backups and sent emails still have the ID."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization", metavar="SLUG")
        parser.add_argument("user_id", metavar="USER_ID", help="The user ID in events, also as end user.")
        parser.add_argument("--dry-run", action="store_true", help="Show how many events have the ID.")
        parser.add_argument("--yes", action="store_true", help="Do not ask for confirmation.")

    def handle(self, *args: Any, user_id: str, dry_run: bool, yes: bool, **options: Any) -> None:
        del args
        (organization,) = organizations_by_slug(options["organization"])
        try:
            count = _count_events(organization, user_id)
        except DomainError as error:
            raise CommandError(str(error)) from None
        noun = "event" if count == 1 else "events"
        self.stdout.write(f"{count:,} {noun} of {organization.name} in the ledger and the archive name {user_id}.")
        if dry_run:
            return
        if not yes and input("Type the user ID again to replace it by a pseudonym: ") != user_id:
            raise CommandError("The IDs differ. Nothing has changed.")
        show = self.stderr.write if self.stderr.isatty() else _ignore
        try:
            erased = erase_person(organization=organization, user_id=user_id, actor="system", show=show)
        except DomainError as error:
            raise CommandError(str(error)) from None
        for table, rows in sorted(erased.rows.items()):
            self.stdout.write(f"  {table}: {rows:,}")
        self.stdout.write(f"{user_id} is now {erased.pseudonym}.")


def _count_events(organization: Organization, user_id: str) -> int:
    stored = UsageEvent.objects.of(organization).filter(Q(user_ref=user_id) | Q(end_user=user_id)).count()
    return stored + count_events_of_person(organization=organization, person=user_id)


def _ignore(table: str) -> None:
    del table
