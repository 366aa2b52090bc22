"""The functions, triggers, views, policies and tenants' rights that migrations create by SQL, parsed from them.

They are declared only there, so a new migration is enough to add or replace one. A test compares the result with a
freshly migrated database, which also proves that the patterns below match every statement.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import RunSQL, SeparateDatabaseAndState

Migration = tuple[str, str]
"""A migration's app and name, as in the table `django_migrations`."""

_STATEMENT = re.compile(
    r"""
    CREATE\ (?:OR\ REPLACE\ )?FUNCTION\ (?P<function>\w+)\s*\(.*?\bAS\s+(?P<quote>\$\w*\$)(?P<body>.*?)(?P=quote)
    | CREATE\ (?:OR\ REPLACE\ )?AGGREGATE\ (?P<aggregate>\w+)
    | CREATE\ (?:OR\ REPLACE\ )?VIEW\ (?P<view>\w+)
    | CREATE\ TRIGGER\ (?P<trigger>\w+)\s[^;]*?\sON\ (?P<trigger_table>\w+)
    | (?P<create_policy>CREATE\ POLICY\ (?P<policy>\w+)\ ON\ (?P<policy_table>\w+)[^;]*)
    | GRANT\ (?P<rights>[A-Z][^;]*?)\sON\s+(?P<granted>[a-z]\w*(?:,\s+\w+)*)\s+TO\ costtrack_tenant
    | DROP\ (?P<dropped_kind>FUNCTION|VIEW|TRIGGER|POLICY)\ (?:IF\ EXISTS\ )?(?P<dropped>\w+)
      (?:\s+ON\s+(?P<dropped_table>\w+))?
    """,
    re.VERBOSE | re.DOTALL,
)


_BODY_OF_AGGREGATES = "aggregate_dummy"  # in pg_proc
_RIGHT = re.compile(r"(\w+)(?:\s*\(([^)]*)\))?")


@dataclass(frozen=True, slots=True)
class Declared:
    """A database object. `table` is empty for functions and
    views. `sql` is a function's body, as PostgreSQL stores it, the
    statement that creates a policy, or the rights of a grant."""

    kind: str
    table: str
    name: str
    sql: str
    migration: str


@dataclass(frozen=True, slots=True)
class _Release:
    """The migrations of this release, in dependency order."""

    statements: dict[Migration, tuple[str, ...]]
    latest: frozenset[Migration]


def pending(applied: frozenset[Migration]) -> frozenset[Migration]:
    """Return the last migration of each app if it is not applied. Earlier ones are always applied before it."""
    return _release().latest - applied


def is_of_a_later_release(applied: frozenset[Migration]) -> bool:
    """Whether migrations were applied that this release does not have, so that it cannot know what they replaced."""
    known = _release().statements
    own_apps = {app for (app, _), statements in known.items() if statements}
    return any(migration[0] in own_apps and migration not in known for migration in applied)


@lru_cache(maxsize=4)
def declared(applied: frozenset[Migration]) -> tuple[Declared, ...]:
    """Return the objects that these migrations created and did not drop."""
    objects: dict[tuple[str, str, str], Declared] = {}
    for migration, statements in _release().statements.items():
        if migration not in applied:
            continue
        for match in _STATEMENT.finditer("\n;\n".join(statements)):
            if match["dropped"]:
                objects.pop((match["dropped_kind"].lower(), match["dropped_table"] or "", match["dropped"]), None)
                objects.pop(("grant", match["dropped"], ""), None)
                continue
            for created in _created(match, ".".join(migration)):
                objects[created.kind, created.table, created.name] = created
    return tuple(objects.values())


def rights_of(grant: Declared) -> frozenset[str]:
    """Return the rights as the catalog names them: `SELECT`, or `UPDATE (name)` for one column."""
    rights: set[str] = set()
    for verb, columns in _RIGHT.findall(grant.sql):
        rights |= {f"{verb} ({column.strip()})" for column in columns.split(",")} if columns else {verb}
    return frozenset(rights)


def _created(match: "re.Match[str]", migration: str) -> Iterator[Declared]:
    if match["function"]:
        yield Declared("function", "", match["function"], match["body"], migration)
    elif match["aggregate"]:
        yield Declared("function", "", match["aggregate"], _BODY_OF_AGGREGATES, migration)
    elif match["view"]:
        yield Declared("view", "", match["view"], "", migration)
    elif match["trigger"]:
        yield Declared("trigger", match["trigger_table"], match["trigger"], "", migration)
    elif match["policy"]:
        yield Declared("policy", match["policy_table"], match["policy"], match["create_policy"], migration)
    else:
        for table in match["granted"].split(","):
            yield Declared("grant", table.strip(), "", match["rights"], migration)


@lru_cache(maxsize=1)
def _release() -> _Release:
    graph = MigrationLoader(None).graph
    latest = frozenset(graph.leaf_nodes())
    ordered = dict.fromkeys(key for leaf in sorted(latest) for key in graph.forwards_plan(leaf))
    statements = {key: tuple(_statements(graph.nodes[key].operations)) for key in ordered}
    return _Release(statements, latest)


def _statements(operations: Iterable[Any]) -> Iterator[str]:
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _statements(operation.database_operations)
        elif isinstance(operation, RunSQL) and operation.sql != RunSQL.noop:
            parts = [operation.sql] if isinstance(operation.sql, str) else operation.sql
            yield from (part if isinstance(part, str) else part[0] for part in parts)
