"""`export_ledger`: each organization's events in a file that `costtrack events send` takes."""

import os
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError

from billing.exports.ledger_events import export_credits, export_events
from costtrack.database.queries import fetch_rows

_ORGANIZATIONS = "SELECT id, slug FROM organizations_organization ORDER BY slug"


class Command(BaseCommand):
    help = (
        "Write each organization's events to FOLDER/<organization>.ndjson, with their ids, times and costs, for"
        " `costtrack events send` to another installation, and its credits to FOLDER/<organization>.credits.ndjson, for"
        " `POST /usage/credits`. Works on a database from before 0.1.0, too."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="FOLDER", help="It is created if it does not exist.")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        del args, options
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for organization_id, slug in fetch_rows(_ORGANIZATIONS):
                file = folder / f"{slug}.ndjson"
                self.stdout.write(f"{slug}: {_write(export_events(organization_id), file):,} events in {file}")
                if lines := list(export_credits(organization_id)):
                    file = folder / f"{slug}.credits.ndjson"
                    self.stdout.write(f"{slug}: {_write(lines, file):,} credits in {file}")
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from None
        except OperationalError as error:
            raise CommandError(f"The database is unreachable: {' '.join(str(error).split())}") from None
        except ProgrammingError as error:
            raise CommandError(f"This database has no ledger: {str(error).splitlines()[0]}") from None


def _write(lines: Iterable[bytes], path: Path) -> int:
    """Write a file that only its owner can read, or none. Returns the number of lines."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            written = 0
            for line in lines:
                file.write(line)
                written += 1
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise
    return written
