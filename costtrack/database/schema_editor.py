"""What applies the operations of migrations."""

from typing import Any

from django.db.backends.postgresql.schema import DatabaseSchemaEditor

LOCK_TIMEOUT_SECONDS = 10


class SchemaEditor(DatabaseSchemaEditor):
    """Django's, with a limit on the time that a migration in a transaction waits for a lock. While it waits, all later
    statements on the table wait for it."""

    def __enter__(self) -> Any:
        editor = super().__enter__()
        if self.atomic_migration and not self.collect_sql:
            with self.connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
        return editor
