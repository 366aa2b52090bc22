"""`price_unpriced`: price the events that wait for a price, now rather than with the next run of the task."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from billing.ledger.price_unpriced import price_unpriced
from billing.models import UnpricedEvent
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand
from organizations.models import Organization


class Command(SchemaCommand):
    help = "Prices events that were stored without a price, where one has appeared since (by adjustments)."

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
            waiting = UnpricedEvent.objects.of(organization).count()
            self.stdout.write(f"{organization.slug}: {priced} events priced, {waiting} still waiting")
