"""Migrations of large tables have planner statistics: `migrate` collects those that are missing, and a migration that
fills a table analyzes it before it reads it."""

import io
from collections.abc import Iterator
from typing import Any

import pglast
import pytest
from django.core.management import call_command
from django.core.management.commands import migrate
from django.db import connection
from pglast.visitors import Visitor

from costtrack.database.declared import Migration, _release
from costtrack.database.statistics import collect_missing_statistics

_NEW_TABLES = """
CREATE TABLE alone AS SELECT 1 AS number;
CREATE TABLE divided (number integer) PARTITION BY LIST (number);
CREATE TABLE divided_1 PARTITION OF divided FOR VALUES IN (1);
INSERT INTO divided VALUES (1);
"""
_ESTIMATE = "SELECT reltuples FROM pg_class WHERE oid = 'divided'::regclass"


class _Tables(Visitor):
    """The tables that a statement names."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def visit_RangeVar(self, _: Any, node: Any) -> None:  # noqa: N802 - named after the node
        self.names.add(node.relname)


def tables_of(node: Any) -> set[str]:
    visitor = _Tables()
    visitor(node)
    return visitor.names


def read_without_statistics(statements: tuple[str, ...]) -> Iterator[str]:
    """The tables that are filled by one statement and read by a later one, without ANALYZE between them."""
    filled: set[str] = set()
    for statement in pglast.parse_sql(";\n".join(statements)):
        node: Any = statement.stmt
        kind = type(node).__name__
        if kind == "VacuumStmt":  # ANALYZE
            filled -= tables_of(node)
        elif kind == "InsertStmt":
            yield from tables_of(node.selectStmt) & filled
            if not node.selectStmt.valuesLists:
                filled.add(node.relation.relname)
        elif kind in ("UpdateStmt", "DeleteStmt", "SelectStmt"):
            yield from tables_of(node) & filled


@pytest.mark.django_db
def test_migrate_collects_the_statistics_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_NEW_TABLES)
    collected = collect_missing_statistics()
    assert {"alone", "divided"} <= set(collected)
    assert "divided_1" not in collected, "partitions are analyzed with their table"
    with connection.cursor() as cursor:
        cursor.execute(_ESTIMATE)
        assert cursor.fetchone() == (1.0,)
    assert not {"alone", "divided"} & set(collect_missing_statistics())

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE later AS SELECT 1 AS number")
    monkeypatch.setattr("costtrack.management.commands.migrate.pending", lambda _: {("billing", "9999_next")})
    monkeypatch.setattr(migrate.Command, "handle", lambda *_, **__: None)  # it would compare all models
    output = io.StringIO()
    call_command("migrate", "--check", stdout=output)
    assert "Collected" not in output.getvalue()
    call_command("migrate", stdout=output)
    assert "Collected statistics of tables that had none:" in output.getvalue()
    assert "later" in output.getvalue()


def test_a_migration_analyzes_a_table_that_it_has_filled_before_it_reads_it() -> None:
    fill, read = "INSERT INTO billing_run SELECT * FROM x", "UPDATE y SET a = 1 FROM billing_run"
    assert list(read_without_statistics((fill, read))) == ["billing_run"]
    assert list(read_without_statistics((fill, "ANALYZE billing_run", read))) == []
    problems: dict[Migration, list[str]] = {}
    for migration, statements in _release().statements.items():
        if tables := list(read_without_statistics(statements)):
            problems[migration] = tables
    assert problems == {}
