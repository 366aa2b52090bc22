"""Test databases: one template, migrated once, and a clone of it for each process that runs tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from urllib.parse import quote

import psycopg
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from psycopg import sql

from costtrack.clock import utc_now

# When most tests take place (`tests.usage`, which needs Django's models).
NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)

TEMPLATE = "test_costtrack_template"
# Any number: it only has to be the same in all workers.
_LOCK = 7_301_115
# What migrations write, and tests leave alone.
_CONSTANT_TABLES = ("django_migrations", "django_content_type", "auth_permission")
_REWRITE = """
SET CONSTRAINTS ALL IMMEDIATE;
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT format('CLUSTER %s USING %I', indrelid::regclass, relname)
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indisprimary AND relkind = 'i' AND indrelid::regclass::text LIKE 'billing\\_%'
    LOOP
        EXECUTE name;
    END LOOP;
END $$
"""


def _admin_connection() -> psycopg.Connection:
    parameters = {**connection.get_connection_params(), "dbname": "postgres"}
    parameters.pop("context", None)
    parameters.pop("cursor_factory", None)
    return psycopg.connect(**parameters, autocommit=True)


def clone_template() -> str:
    """The name of a fresh database with all migrations applied."""
    name = _own_name()
    with _admin_connection() as admin:
        # The lock makes one worker migrate while the others wait; it ends with the connection.
        admin.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
        found = admin.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [TEMPLATE]
        ).fetchone()
        if found is None or found[0] != run:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(TEMPLATE)))
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
            _migrate(TEMPLATE)
            admin.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(TEMPLATE), sql.Literal(run)))
        drop(name)
        _copy(admin, TEMPLATE, name)
    return name


def database_url() -> str:
    """The URL of the test's database."""
    parameters = connection.get_connection_params()
    user = ":".join(quote(parameters[name], safe="") for name in ("user", "password") if name in parameters)
    host = quote(parameters.get("host", ""), safe="")
    return f"postgresql://{user}@/{parameters['dbname']}?host={host}&port={parameters.get('port', 5432)}"


@contextmanager
def make_template(name: str, source: str = TEMPLATE) -> Iterator[str]:
    """A further template of this process: a copy of another one, to which the block adds something."""
    name = f"{_own_name()}_{name}"
    with _connected_with_a_copy(source, name):
        yield name


@contextmanager
def clone(template: str) -> Iterator[None]:
    """Work with a copy of a template, which is gone after the block."""
    name = f"{_own_name()}_copy"
    try:
        with _connected_with_a_copy(template, name):
            yield
    finally:
        drop(name)


@contextmanager
def _connected_with_a_copy(template: str, name: str) -> Iterator[None]:
    with _admin_connection() as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        _copy(admin, template, name)
    before = connection.settings_dict["NAME"]
    connect_with(name)
    try:
        yield
    finally:
        connect_with(before)


def empty() -> None:
    """Delete what a test with real transactions has committed, and restore the plans.

    Instead of Django's flush, which truncates every table and makes all permissions again: that took a fifth of a
    second after each test, though a test writes to a few tables only. Triggers, which keep the ledger from losing rows,
    and foreign keys do not apply to replicas.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname <> ALL (%s)",
            [list(_CONSTANT_TABLES)],
        )
        tables = [name for (name,) in cursor.fetchall()]
        has_rows = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(sql.Literal(name), sql.Identifier(name))
            for name in tables
        )
        cursor.execute(has_rows)
        deletes = [sql.SQL("DELETE FROM {}").format(sql.Identifier(name)) for (name,) in cursor.fetchall()]
        cursor.execute(sql.SQL("; ").join([sql.SQL("SET LOCAL session_replication_role = replica"), *deletes]))
        import_module("organizations.migrations.0003_plans").add_plans(apps, None)


def compact() -> None:
    """Rewrite the tables, for earlier tests left gaps and dead rows in them, which reads of new rows touch as well."""
    with connection.cursor() as cursor:
        cursor.execute(_REWRITE)


def connect_with(name: str) -> None:
    """Of this thread and of those to come."""
    connection.close()
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = name


def _own_name() -> str:
    """Of the database of this process."""
    return f"test_costtrack_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"


def _copy(admin: psycopg.Connection, template: str, name: str) -> None:
    admin.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
            sql.Identifier(name), sql.Identifier(template)
        )
    )


def drop(name: str) -> None:
    with _admin_connection() as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _migrate(name: str) -> None:
    before = connection.settings_dict["NAME"]
    connect_with(name)
    call_command("migrate", verbosity=0)
    from billing.ledger.partitions import ensure_month  # needs Django's models, which are ready only now

    # Made once here rather than by nearly every test that writes an event.
    for month in (NOW, utc_now()):
        ensure_month(month)
    connect_with(before)
