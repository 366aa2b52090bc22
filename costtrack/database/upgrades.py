"""Upgrades while the previous release serves: what a migration does that needs attention.

The processes of the previous release run during `migrate` and after it, until they are replaced. A migration that they
would not survive, or that blocks them for long, names its rules and reasons in `unsafe_operations`, a class attribute
like `operations`. Tests refuse such operations without a reason (docs/decisions/054-upgrades.md).
"""

from collections.abc import Mapping

from django.db import connection
from django.db.migrations.loader import MigrationLoader

from costtrack.database.declared import Migration

ATTRIBUTE = "unsafe_operations"


def pending_unsafe_operations() -> dict[Migration, Mapping[str, str]]:
    """Return the rules and reasons of the migrations that are not applied and have some."""
    loader = MigrationLoader(connection)
    return {
        name: getattr(migration, ATTRIBUTE)
        for name, migration in loader.disk_migrations.items()
        if name not in loader.applied_migrations and getattr(migration, ATTRIBUTE, None)
    }
