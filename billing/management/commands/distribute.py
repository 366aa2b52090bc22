"""`manage.py distribute`: distributes the tables by organization with Citus (docs/distribution.md)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from billing.distribution.checks import WITHOUT_CITUS, find_obstacles, has_citus, present_kinds, verify
from billing.distribution.steps import Step, expected_kinds, session_settings, steps
from costtrack.database.commands import SchemaCommand

_HEADER = """\
-- Distributes this database by organization. Stop everything that uses it first, and make a backup.
-- Run it in the coordinator's database: psql --set ON_ERROR_STOP=1 --file FILE
"""


class Command(SchemaCommand):
    help = (
        "Distribute the tables by organization, on a database with the extension Citus (experimental). Run it again"
        " after an upgrade, or if it was interrupted: it does what is left. Exit code 1: it cannot, or a check failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Only print the SQL. This also works without Citus.")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        del args, options
        todo = steps(present_kinds())
        if dry_run:
            self._print(todo)
            return
        if not has_citus():
            raise CommandError(WITHOUT_CITUS)
        obstacles = list(find_obstacles(expected_kinds() if todo else {}))
        if obstacles:
            raise CommandError("\n".join(obstacles))
        self._run(todo)
        self._verify()

    def _print(self, todo: list[Step]) -> None:
        if not todo:
            self.stdout.write("-- Nothing is left to do: this database is distributed.")
            return
        self.stdout.write(_HEADER)
        for statement in session_settings():
            self.stdout.write(f"{statement};")
        for number, step in enumerate(todo, 1):
            self.stdout.write(f"\n-- {number}. {step.title}.")
            for statement in step.statements:
                self.stdout.write(f"{statement};")

    def _run(self, todo: list[Step]) -> None:
        if not todo:
            self.stdout.write("Nothing is left to do: this database is distributed.")
        with connection.cursor() as cursor:
            for statement in session_settings():
                cursor.execute(statement)
            for step in todo:
                self.stdout.write(f"{step.title} ({len(step.statements)} statements).")
                for statement in step.statements:
                    self._execute(cursor, statement)

    def _execute(self, cursor: Any, statement: str) -> None:
        try:
            cursor.execute(statement)
        except DatabaseError as error:
            raise CommandError(f"{statement}\n{error}\nRun the command again to continue.") from None

    def _verify(self) -> None:
        results = list(verify(expected_kinds()))
        for is_right, sentence in results:
            self.stdout.write(f"{'ok' if is_right else 'FAILED'}: {sentence}")
        if not all(is_right for is_right, _ in results):
            raise CommandError("A check failed.")
