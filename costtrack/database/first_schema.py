"""Databases from before 0.1.0. Release 0.1.0 replaced their migrations, so they cannot be migrated, but their events
can be exported (docs/restore.md)."""

from django.core.management.base import CommandError

from costtrack.database.declared import Migration

ADVICE = (
    "The database is from before 0.1.0 and cannot be migrated. Run `costtrack export-ledger FOLDER`, and send the"
    " events to a new installation (docs/restore.md)."
)
_REPLACED: Migration = ("organizations", "0002_row_level_security")


def is_first_schema(applied: frozenset[Migration]) -> bool:
    return _REPLACED in applied


def refuse_first_schema(applied: frozenset[Migration]) -> None:
    """Raise a one-line CommandError if the database is from before 0.1.0."""
    if is_first_schema(applied):
        raise CommandError(ADVICE)
