"""`migrate`: Django's command, which also refuses databases from before 0.1.0 with a one-line error."""

from typing import Any

from django.core.management.commands import migrate
from django.db import OperationalError

from costtrack.database.first_schema import refuse_first_schema
from costtrack.database.repair import applied_migrations


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            applied = applied_migrations()
        except OperationalError:
            applied = frozenset()  # the system check reports it
        refuse_first_schema(applied)
        super().handle(*args, **options)
