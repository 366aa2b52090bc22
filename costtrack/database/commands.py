"""The base class of management commands that use the database schema."""

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from costtrack.database.declared import pending
from costtrack.database.first_schema import refuse_first_schema
from costtrack.database.inspection import describe
from costtrack.database.repair import applied_migrations, find_problems

CONFIGURATION = "configuration"
"""The tag of the system checks of what an operator has configured. Most others check the code; that of the URLs imports
all pages and endpoints, which takes longer than most commands."""


class SchemaCommand(BaseCommand):
    """A command that ends with a one-line error if the database is unreachable or not migrated, or if the role or
    policies of the migrations are missing. Before it runs, only the configuration is checked."""

    requires_system_checks = [CONFIGURATION]
    requires_migrations_checks = True

    def check_migrations(self) -> None:
        try:
            applied = applied_migrations()
            is_pending = bool(pending(applied))
            problems = [] if is_pending else find_problems()
        except OperationalError as error:
            raise CommandError(f"The database is unreachable: {' '.join(str(error).split())}") from None
        refuse_first_schema(applied)
        if is_pending:
            raise CommandError("The database is not migrated to this release. Run the management command migrate.")
        if problems:
            raise CommandError(describe(problems))
