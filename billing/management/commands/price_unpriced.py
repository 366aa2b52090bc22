"""`price_unpriced`: price unpriced events now, instead of with the next run of the task."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from billing.ledger.price_unpriced import price_unpriced
from billing.models import UnpricedEvent
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from organizations.models import Organization


class Command(SchemaCommand):
    help = "Prices unpriced events for which there is a price now, by adjustments."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", help="Only this organization.")

    def handle(self, *args: Any, **options: Any) -> None:
        organizations = Organization.objects.order_by("slug")
        if options["organization"]:
            organizations = organizations.filter(slug=options["organization"])
            if not organizations.exists():
                raise CommandError(f"There is no organization {options['organization']}.")
        for organization in organizations:
            priced = price_unpriced(organization=organization, now=utc_now())
            unpriced = UnpricedEvent.objects.of(organization).count()
            self.stdout.write(f"{organization.slug}: {priced} events priced, {unpriced} still unpriced")
