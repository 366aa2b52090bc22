"""Repairs the problems that `inspection` finds: the tenants' role, its grants, row-level security and policies.

Functions, tables, views and triggers are not created here. If they are missing, a restore was incomplete, and data may
be missing as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, connection, transaction
from psycopg import sql

from costtrack.database import catalog
from costtrack.database.declared import Migration
from costtrack.database.inspection import Kind, Problem, inspect

# An arbitrary key of the advisory lock that serializes repairs.
_LOCK = 7_301_118
_LOCK_TIMEOUT = "5s"
_GRANTS = (Kind.SCHEMA, Kind.DEFAULT_PRIVILEGE, Kind.TABLE_GRANT, Kind.SEQUENCE_GRANT, Kind.FUNCTION_GRANT)
_ROLES = (Kind.ROLE, Kind.ROLE_ATTRIBUTE, Kind.ROLE_MEMBERSHIP, Kind.ROLE_NOT_GRANTED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The repaired and the remaining problems, and PostgreSQL's message for each statement that it refused."""

    repaired: list[Problem]
    left: list[Problem]
    refusals: dict[Problem, str]


def applied_migrations() -> frozenset[Migration]:
    return catalog.read_applied(_fetch)


def find_problems() -> list[Problem]:
    """Inspect the database of the default connection."""
    return inspect(_fetch, applied_migrations())


def repair(problems: Sequence[Problem]) -> Outcome:
    """Repair these problems, each in a separate transaction, and inspect the database again.

    Nothing is granted to the tenants' role while a policy is missing or a table has no row-level security.
    """
    refusals: dict[Problem, str] = {}
    for problem in problems:
        if problem.kind in _GRANTS and refusals:
            break
        try:
            _execute(problem.statements)
        except DatabaseError as error:
            refusals[problem] = str(error).split("\n")[0].strip()
            if problem.kind == Kind.ROLE:
                break
    left = find_problems()
    return Outcome([problem for problem in problems if problem not in left], left, refusals)


def superuser_statements(left: Sequence[Problem]) -> list[str]:
    """Return the statements that a superuser must run if the database user cannot create or change roles."""
    with connection.cursor() as cursor:
        return [
            f"{statement.as_string(cursor.connection)};"
            for problem in left
            if problem.kind in _ROLES
            for statement in problem.statements
        ]


def _execute(statements: Sequence[sql.Composable]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
        for statement in statements:
            cursor.execute(statement)


def _fetch(query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
