"""The objects that migrations create by SQL, as read from the migrations, are those of a migrated database."""

import pytest
from django.db import connection

from costtrack.database import catalog
from costtrack.database.declared import declared
from costtrack.database.repair import applied_migrations, find_problems

pytestmark = pytest.mark.django_db

_OBJECTS = """
SELECT 'function', '', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'view', '', relname, '' FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
UNION ALL
SELECT 'trigger', relname, tgname, '' FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE NOT tgisinternal
UNION ALL
SELECT 'policy', tablename, policyname, coalesce(qual, '') || ' / ' || coalesce(with_check, '') FROM pg_policies
"""


def test_a_migrated_database_has_exactly_what_its_migrations_declare() -> None:
    with connection.cursor() as cursor:
        cursor.execute(_OBJECTS)
        actual = {(kind, table, name): text for kind, table, name, text in cursor.fetchall()}
    objects = [item for item in declared(applied_migrations()) if item.kind != "grant"]
    expected = {(item.kind, item.table, item.name): item.sql for item in objects}
    assert set(actual) == set(expected)
    assert {kind for kind, _, _ in actual} == {"function", "view", "trigger", "policy"}
    for key, text in actual.items():
        if key[0] == "policy":
            using, _, check = expected[key].partition(" USING ")[2].partition(" WITH CHECK ")
            assert [catalog.canonical(part) for part in text.split(" / ")] == [
                catalog.canonical(using),
                catalog.canonical(check),
            ]
        else:
            assert text == expected[key]


def test_nothing_is_wrong_with_a_migrated_database() -> None:
    assert find_problems() == []
