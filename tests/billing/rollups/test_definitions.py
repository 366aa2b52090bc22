"""The rollups as declared, as modelled, and as the database has them."""

import pytest
from django.db import connection
from psycopg import sql

from billing.rollups.definitions import ROLLUPS, Rollup
from billing.rollups.sql import key_columns, live_view, measure_columns

each_rollup = pytest.mark.parametrize("rollup", ROLLUPS, ids=lambda rollup: rollup.name)


@each_rollup
def test_a_rollups_tables_have_the_columns_that_it_declares(rollup: Rollup) -> None:
    declared = {*key_columns(rollup), *measure_columns(rollup)}

    assert {field.column for field in rollup.model._meta.concrete_fields} - {None} == declared
    assert {field.column for field in rollup.model.live()._meta.concrete_fields} - {None} == declared


@each_rollup
@pytest.mark.django_db
def test_the_primary_key_of_the_table_is_the_rollups_key(rollup: Rollup) -> None:
    with connection.cursor() as cursor:
        primary_key = connection.introspection.get_primary_key_columns(cursor, rollup.table)

    assert tuple(primary_key or ()) == key_columns(rollup)


@each_rollup
@pytest.mark.django_db
def test_the_database_has_the_view_that_the_definition_makes(rollup: Rollup) -> None:
    with connection.cursor() as cursor:
        cursor.execute(live_view(rollup, "as_declared"))
        cursor.execute("SELECT pg_get_viewdef('as_declared'::regclass)")
        declared = cursor.fetchone()
        cursor.execute(
            "SELECT pg_get_viewdef(%s::regclass), reloptions FROM pg_class WHERE oid = %s::regclass", [rollup.view] * 2
        )
        present = cursor.fetchone()

    assert present[:1] == declared, (
        f"A migration must drop the view and make it again:\n{live_view(rollup, rollup.view).as_string(None)}"
    )
    assert present[1] == ["security_invoker=true"]


@each_rollup
@pytest.mark.django_db
def test_conditions_of_a_query_reach_both_halves_of_the_view(rollup: Rollup) -> None:
    """Otherwise every read would add up the whole rollup first."""
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("EXPLAIN SELECT count(*) FROM {} WHERE organization_id = 1").format(sql.Identifier(rollup.view))
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())

    assert plan.count("organization_id = ") >= 2
    assert "Filter: (organization_id" not in plan.partition("Append")[0]
