"""`migrate`: Django's command, which also refuses databases from before 0.1.0 with a one-line error, collects missing
planner statistics before it applies migrations, and does not wait long for a lock."""

from typing import Any

from django.core.checks import Tags
from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import OperationalError
from psycopg.errors import LockNotAvailable

from costtrack.database.commands import CONFIGURATION
from costtrack.database.declared import pending
from costtrack.database.first_schema import refuse_first_schema
from costtrack.database.historical_models import only_dependents
from costtrack.database.repair import applied_migrations
from costtrack.database.schema_editor import LOCK_TIMEOUT_SECONDS
from costtrack.database.statistics import collect_missing_statistics


class Command(migrate.Command):
    requires_system_checks = [CONFIGURATION, Tags.database]

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            applied = applied_migrations()
        except OperationalError:
            applied = frozenset()  # the system check reports it
        refuse_first_schema(applied)
        only_shows = options["plan"] or options["check_unapplied"]
        if applied and pending(applied) and not only_shows:
            self._collect_statistics()
        try:
            with only_dependents():
                super().handle(*args, **options)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            raise CommandError(
                f"A table was locked for {LOCK_TIMEOUT_SECONDS} s, for example by a long report. The migration "
                "that was running is rolled back. Run migrate again."
            ) from None

    def _collect_statistics(self) -> None:
        tables = collect_missing_statistics()
        if tables:
            self.stdout.write(f"Collected statistics of tables that had none: {', '.join(tables)}")
