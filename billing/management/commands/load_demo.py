"""`load_demo`: add two demo organizations with three months of usage."""

from typing import Any

from billing.demo.services import PASSWORD, USERS, load_demo
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand


class Command(SchemaCommand):
    help = "Adds two demo organizations with logins and three months of usage. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        stored = load_demo(now=utc_now(), progress=self._progress)
        self.stdout.write(f"The demo is loaded: {stored:,} events.")
        for email, roles in USERS:
            memberships = ", ".join(f"{role.label.lower()} of {slug}" for slug, role in roles)
            self.stdout.write(f"  {email} / {PASSWORD}  ({memberships})")

    def _progress(self, organization: str, stored: int) -> None:
        # Not to stdout, which `costtrack up` shows to the user.
        self.stderr.write(f"{organization}: {stored:,} events")
