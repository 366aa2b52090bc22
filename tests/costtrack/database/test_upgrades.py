"""Migrations run while the previous release serves: its code works with the new schema, and nothing blocks it for long.

`release.json` has the last migrations and the functions of the previous release. After a release:

    COSTTRACK_WRITE_RELEASE=1 .venv/bin/pytest tests/costtrack/database/test_upgrades.py
"""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import CommandError, call_command
from django.core.management.commands import migrate
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from rest_framework.test import APIClient

from billing.rollups.fold import fold
from costtrack.clock import utc_now
from costtrack.database import upgrades
from tests.database import database_url
from tests.unsafe_migrations import RULES, sql_of, unsafe_operations

RELEASE = Path(__file__).with_name("release.json")

_COLUMNS = """
SELECT c.relname, a.attname, a.atttypid::regtype::text, a.attnotnull,
    a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0 AND NOT a.attisdropped
"""
# Functions that make whole rows of JSON write NULL to columns that the JSON lacks, also to those with a default.
_TABLES_OF_WHOLE_ROWS = r"""
SELECT DISTINCT (regexp_matches(prosrc, 'NULL::(\w+)', 'g'))[1]
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND prosrc ~ 'json_populate_record'
"""
_FUNCTIONS = "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"


_REQUIRED = "text NOT NULL DEFAULT ''"
_WRITTEN = {
    "billing_usageevent": "text",
    "billing_ingestbatch": "text",
    "billing_run": _REQUIRED,
    "organizations_organization": _REQUIRED,
}
"""Tables that an intake and a fold write or read, and the type of a further column of each."""


@dataclass(frozen=True)
class Column:
    """A column of the database. `type` is PostgreSQL's name, without a length."""

    type: str
    is_required: bool
    has_default: bool


def query(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def problems_of_old_code(old: Any) -> Iterator[str]:
    """What fails in the database for code with these models, an app registry: reads and writes of their columns."""
    tables: dict[str, dict[str, Column]] = {}
    for table, name, *column in query(_COLUMNS):
        tables.setdefault(table, {})[name] = Column(*column)
    fields: dict[str, dict[str, models.Field[Any, Any]]] = {}
    for model in old.get_models(include_auto_created=True):
        columns = fields.setdefault(model._meta.db_table, {})
        columns.update((str(field.column), field) for field in model._meta.local_concrete_fields if field.column)
    types = {str(field.db_type(connection)) for columns in fields.values() for field in columns.values()}
    type_names = dict(query("SELECT name, to_regtype(name)::text FROM unnest(%s::text[]) AS name", list(types)))
    whole_rows = {table for (table,) in query(_TABLES_OF_WHOLE_ROWS)}
    for table, columns in fields.items():
        present = tables.get(table, {})
        for name, field in columns.items():
            if name not in present:
                yield f"{table}.{name} is missing"
            elif present[name].type != type_names[str(field.db_type(connection))]:
                yield f"{table}.{name} is now {present[name].type}"
            elif present[name].is_required and field.null:
                yield f"{table}.{name} may not be NULL any more"
        for name in present.keys() - columns.keys():
            if present[name].is_required and (table in whole_rows or not present[name].has_default):
                yield f"{table}.{name} has no default" if table not in whole_rows else f"{table}.{name} may not be NULL"


def functions() -> list[str]:
    return [name for (name,) in query(_FUNCTIONS)]


def recorded() -> dict[str, Any]:
    release: dict[str, Any] = json.loads(RELEASE.read_text(encoding="utf-8"))
    return release


@pytest.fixture(scope="module")
def loader(django_db_setup: None, django_db_blocker: Any) -> MigrationLoader:
    with django_db_blocker.unblock():
        loader = MigrationLoader(connection)
        if "COSTTRACK_WRITE_RELEASE" in os.environ:
            release = {"migrations": dict(sorted(loader.graph.leaf_nodes())), "functions": functions()}
            RELEASE.write_text(json.dumps(release, indent=2) + "\n", encoding="utf-8")
    return loader


@pytest.fixture(scope="module")
def old_state(loader: MigrationLoader) -> ProjectState:
    """The models of the previous release."""
    return loader.project_state([(app, name) for app, name in recorded()["migrations"].items()])


@pytest.mark.django_db
def test_the_code_of_the_previous_release_works_with_the_new_schema(old_state: ProjectState) -> None:
    assert list(problems_of_old_code(old_state.apps)) == []
    assert set(recorded()["functions"]) - set(functions()) == set()


@pytest.mark.django_db
def test_what_old_code_does_not_survive_is_found(old_state: ProjectState) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE organizations_organization DROP COLUMN time_zone CASCADE")
        cursor.execute("ALTER TABLE organizations_organization ADD COLUMN region text NOT NULL")
        cursor.execute("ALTER TABLE organizations_organization ADD COLUMN size integer NOT NULL DEFAULT 0")
        cursor.execute("ALTER TABLE billing_usageevent ADD COLUMN size integer NOT NULL DEFAULT 0")
        cursor.execute("ALTER TABLE organizations_organization ALTER COLUMN slug TYPE text")
        cursor.execute("ALTER TABLE billing_anomaly ALTER COLUMN withdrawn_at SET NOT NULL")
    assert sorted(problems_of_old_code(old_state.apps)) == [
        "billing_anomaly.withdrawn_at may not be NULL any more",
        "billing_usageevent.size may not be NULL",
        "organizations_organization.region has no default",
        "organizations_organization.slug is now text",
        "organizations_organization.time_zone is missing",
    ]


def test_migrations_since_the_release_are_safe_or_say_why_not(
    loader: MigrationLoader, old_state: ProjectState, django_db_blocker: Any
) -> None:
    old = {(app, name) for app, name in recorded()["migrations"].items()}
    released = {ancestor for node in old for ancestor in loader.graph.forwards_plan(node)}
    problems = {}
    state = old_state.clone()
    with django_db_blocker.unblock():
        for leaf in sorted(loader.graph.leaf_nodes()):
            for node in loader.graph.forwards_plan(leaf):
                if node not in released:
                    released.add(node)
                    migration = loader.graph.nodes[node]
                    found = unsafe_operations(sql_of(migration, state))
                    explained = getattr(migration, upgrades.ATTRIBUTE, {})
                    assert explained.keys() <= RULES.keys(), node
                    problems[node] = [f"{rule} {name}: {RULES[rule]}" for rule, name in found if rule not in explained]
    assert {node: found for node, found in problems.items() if found} == {}


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("DROP TABLE a", "drop"),
        ("DROP FUNCTION a(integer)", "drop"),
        ("ALTER TABLE a DROP COLUMN b", "drop"),
        ("ALTER TABLE a RENAME COLUMN b TO c", "rename"),
        ("ALTER TABLE a RENAME TO c", "rename"),
        ("ALTER TABLE a ALTER COLUMN b TYPE bigint", "change-type"),
        ("ALTER TABLE a ALTER COLUMN b SET NOT NULL", "not-null"),
        ("ALTER TABLE a ADD COLUMN b integer NOT NULL", "no-default"),
        ("ALTER TABLE a ADD b integer DEFAULT 0 NOT NULL; ALTER TABLE a ALTER b DROP DEFAULT", "no-default"),
        ("ALTER TABLE a ADD COLUMN b uuid DEFAULT gen_random_uuid()", "rewrite"),
        ("ALTER TABLE a ADD COLUMN b integer GENERATED ALWAYS AS (c + 1) STORED", "rewrite"),
        ("CREATE INDEX i ON a (b)", "index"),
        ("ALTER TABLE a ADD COLUMN b integer UNIQUE", "index"),
        ("ALTER TABLE a ADD CONSTRAINT i UNIQUE (b)", "constraint"),
        ("ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (b) REFERENCES c (id)", "constraint"),
        ("ALTER TABLE a ADD CHECK (b > 0)", "constraint"),
    ],
)
def test_an_unsafe_operation_is_named(statement: str, rule: str) -> None:
    assert unsafe_operations([statement]) == [(rule, "a")]
    assert unsafe_operations(["CREATE TABLE a (id integer)", statement]) == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE a ADD COLUMN b integer",
        "ALTER TABLE a ADD COLUMN b integer DEFAULT 0 NOT NULL",
        "ALTER TABLE a ADD COLUMN b timestamptz DEFAULT now() NOT NULL",
        "CREATE INDEX CONCURRENTLY i ON a (b)",
        "CREATE INDEX i ON ONLY a (b)",
        "ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (b) REFERENCES c (id) NOT VALID",
        "ALTER TABLE a ADD CONSTRAINT i UNIQUE USING INDEX j",
        "ALTER TABLE a VALIDATE CONSTRAINT f",
        "CREATE OR REPLACE FUNCTION a() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "DROP TRIGGER b ON a",
    ],
)
def test_a_safe_operation_needs_no_reason(statement: str) -> None:
    assert unsafe_operations([statement]) == []


def test_the_operations_of_django_are_read_as_sql(
    loader: MigrationLoader, old_state: ProjectState, django_db_blocker: Any
) -> None:
    operations = [
        migrations.AddField("organization", "region", models.CharField(default="", max_length=9)),
        migrations.AddField("organization", "size", models.IntegerField(db_default=0)),
        migrations.RenameField("organization", "time_zone", "zone"),
        migrations.RemoveField("organization", "slug"),
        migrations.RunSQL("CREATE INDEX i ON billing_run (id)"),
    ]
    migration = type("Migration", (migrations.Migration,), {"operations": operations})("next", "organizations")
    with django_db_blocker.unblock():
        found = unsafe_operations(sql_of(migration, old_state.clone()))
    table = "organizations_organization"
    assert found == [("no-default", table), ("rename", table), ("drop", table), ("index", "billing_run")]


@pytest.mark.django_db
def test_new_code_works_while_columns_are_still_there_that_only_old_code_writes(
    api: APIClient,
) -> None:
    """The contracting migration comes later: when all processes have the new code."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, column in _WRITTEN.items():
            cursor.execute(f"ALTER TABLE {table} ADD COLUMN of_old_code {column}")
    event = {"id": "1", "model": "small", "cost_usd": "0.25", "run_id": "r", "user_id": "ann"}
    assert api.post("/usage/events", [event], format="json").json()["accepted"] == 1
    assert fold(now=utc_now()).batches == 1
    assert api.get("/costs/runs/r").json()["total_cost"] == 0.25
    assert api.get("/usage/summary").status_code == 200


# --- What an operator sees ---------------------------------------------------------------------------------------


class Next(migrations.Migration):
    operations = ()
    unsafe_operations = {"drop": "Release 0.1 reads the column."}


@pytest.mark.django_db
def test_check_names_the_pending_migration_that_is_unsafe(monkeypatch: pytest.MonkeyPatch) -> None:
    build = MigrationLoader.build_graph

    def with_one_more(self: MigrationLoader) -> None:
        build(self)
        self.disk_migrations["billing", "9999_next"] = Next("9999_next", "billing")

    assert warnings_of_check() == []
    monkeypatch.setattr(MigrationLoader, "build_graph", with_one_more)
    (message,) = warnings_of_check()
    assert message.msg == (
        "The pending migration billing.9999_next is unsafe while the previous release serves (drop): "
        "Release 0.1 reads the column."
    )


def warnings_of_check() -> list[CheckMessage]:
    return [message for message in run_checks(databases=["default"]) if message.id == "costtrack.W002"]


@pytest.mark.django_db(transaction=True)
def test_a_migration_does_not_wait_long_for_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that comes later would wait behind it."""

    def lock(*_: Any, **__: Any) -> None:
        with connection.schema_editor() as editor:
            editor.execute("SET LOCAL lock_timeout = '50ms'" if is_limited() else "SELECT 1")
            editor.execute("LOCK TABLE billing_run")

    monkeypatch.setattr(migrate.Command, "handle", lock)
    with psycopg.connect(database_url()) as report:
        report.execute("SELECT 1 FROM billing_run LIMIT 1")
        with pytest.raises(CommandError, match=r"A table was locked for 10 s.*Run migrate again"):
            call_command("migrate", stdout=io.StringIO())


def is_limited() -> bool:
    return query("SHOW lock_timeout") == [("10s",)]
