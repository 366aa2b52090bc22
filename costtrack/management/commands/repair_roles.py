"""`manage.py repair_roles`: restores the tenants' role, its grants, row-level security and policies as the migrations
define them. Needed after a dump was restored into another PostgreSQL cluster, because a dump contains no roles."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError

from costtrack.database.commands import CONFIGURATION
from costtrack.database.declared import pending
from costtrack.database.first_schema import refuse_first_schema
from costtrack.database.inspection import Problem, summarize
from costtrack.database.repair import Outcome, applied_migrations, find_problems, repair, superuser_statements

_COMPLETE = "The tenants' role, its grants and the policies match the migrations."
_INCOMPLETE = (
    "Tables, functions, views, triggers and owners are not repaired, because data may be missing as well: "
    "restore the dump again into an empty database (docs/restore.md)."
)


class Command(BaseCommand):
    help = (
        "Repair the tenants' role, its grants, row-level security and policies, for example after a dump was"
        " restored into another cluster. Safe to repeat. Exit code 1: problems remain."
    )

    requires_system_checks = [CONFIGURATION]

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check",
            action="store_true",
            help="Only show what would be repaired. Exit code 1: there are problems.",
        )

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        del args, options
        try:
            applied = applied_migrations()
            refuse_first_schema(applied)
            problems = find_problems()
        except OperationalError as error:
            raise CommandError(f"The database is unreachable: {' '.join(str(error).split())}") from None
        if not applied:
            self.stdout.write("No migrations are applied yet, so there is nothing to repair. Run migrate.")
            return
        if not problems:
            self.stdout.write(_COMPLETE)
        elif check:
            self._show(problems)
        else:
            self._report(repair(problems))
        if pending(applied):
            self.stdout.write("Migrations are pending. Run migrate.")

    def _show(self, problems: list[Problem]) -> None:
        self._write("Would repair: ", [problem for problem in problems if problem.statements])
        self._write("Cannot repair: ", [problem for problem in problems if not problem.statements])
        raise CommandError(f"{len(problems):,} problems found. Without --check, they are repaired where possible.")

    def _report(self, outcome: Outcome) -> None:
        self._write("Repaired: ", outcome.repaired)
        if not outcome.left:
            self.stdout.write(_COMPLETE)
            return
        self._write("Not repaired: ", outcome.left)
        for problem, refusal in outcome.refusals.items():
            self.stdout.write(f"PostgreSQL refused {problem.subject}: {refusal}")
        statements = superuser_statements(outcome.left)
        if statements:
            raise CommandError(
                "The database user may not create or change roles. As a superuser, run in this database:\n"
                + "".join(f"    {statement}\n" for statement in statements)
                + "Then run repair_roles again."
            )
        if any(not problem.statements for problem in outcome.left):
            raise CommandError(_INCOMPLETE)
        raise CommandError("Fix the cause and run repair_roles again.")

    def _write(self, prefix: str, problems: list[Problem]) -> None:
        for line in summarize(problems, max_subjects=len(problems)):
            self.stdout.write(prefix + line)
