"""`load_demo`: two invented organizations with a month of usage, for a first look around."""

from typing import Any

from billing.demo.services import PASSWORD, PEOPLE, load_demo
from costtrack.clock import utc_now
from costtrack.database.commands import SchemaCommand


class Command(SchemaCommand):
    help = "Adds two demo organizations with logins and a month of usage. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        stored = load_demo(now=utc_now(), progress=self._progress)
        self.stdout.write(f"The demo is loaded: {stored:,} events.")
        for email, roles in PEOPLE:
            places = ", ".join(f"{role.label.lower()} of {slug}" for slug, role in roles)
            self.stdout.write(f"  {email} / {PASSWORD}  ({places})")

    def _progress(self, organization: str, stored: int) -> None:
        # Not to stdout, which `costtrack up` shows to the user: it says who can sign in.
        self.stderr.write(f"{organization}: {stored:,} events")
