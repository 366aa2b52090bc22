"""`limits`: verify the spend limits."""

from argparse import ArgumentParser
from typing import Any

from billing.limits.verify import verify_limits
from billing.management.console import (
    ProgressDisplay,
    add_organization_argument,
    count_organizations,
    organizations_by_slug,
    report_differences,
)
from billing.rollups.types import Checked
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand

_MAX_DIFFERENCES = 20


class Command(SchemaCommand):
    help = "Verifies the spend limits."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="action")
        verify = actions.add_parser(
            "verify", help="Compare balances with the ledger and the authorizations. Exit code 1 if they differ."
        )
        add_organization_argument(verify)

    def handle(self, *args: Any, organization: str | None, **_: Any) -> None:
        checks: list[tuple[str, Checked]] = []
        organizations = organizations_by_slug(organization)
        with ProgressDisplay("Verifying", self.stderr, organizations) as progress:
            for tenant in organizations:
                checked = verify_limits(organization=tenant, now=utc_now(), progress=progress.step)
                checks.append((tenant.slug, checked))
        match = f"The limits of {count_organizations(organizations)} match the ledger."
        differ = "differences. Please report them. The ledger itself is complete."
        report_differences(self.stdout, checks, _MAX_DIFFERENCES, match=match, differ=differ)
