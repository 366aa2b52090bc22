"""`manage.py run_commands`: several management commands in one process, because Django takes seconds to load."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from costtrack.supervisor.manage import END_OF_OUTPUT


class Command(BaseCommand):
    help = "Run management commands one after another, up to the first that fails. Used by `costtrack up`."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("commands", nargs="+", metavar="COMMAND", help="a command and its arguments, a JSON list")

    def handle(self, *args: Any, commands: list[str], **options: Any) -> None:
        del args, options
        for command in commands:
            name, *arguments = json.loads(command)
            # All of them need the same settings, and `migrate` also checks the database.
            call_command(name, *arguments, skip_checks=name != "migrate")
            self.stdout.write(END_OF_OUTPUT)
            self.stdout.flush()
