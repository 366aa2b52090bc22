"""`price_unpriced`: price unpriced events now, instead of with the next run of the task."""

from argparse import ArgumentParser
from typing import Any

from billing.ledger.price_unpriced import price_unpriced
from billing.management.console import add_organization_argument, organizations_by_slug
from billing.models import UnpricedEvent
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand


class Command(SchemaCommand):
    help = "Prices unpriced events for which there is a price now, by adjustments."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_organization_argument(parser)

    def handle(self, *args: Any, organization: str | None, **_: Any) -> None:
        for tenant in organizations_by_slug(organization):
            priced = price_unpriced(organization=tenant, now=utc_now())
            unpriced = UnpricedEvent.objects.of(tenant).count()
            self.stdout.write(f"{tenant.slug}: {priced} events priced, {unpriced} still unpriced")
