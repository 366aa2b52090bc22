"""Reads the schema, the tenant role and its privileges from PostgreSQL's catalogs, in about ten milliseconds.

Only one query may wait for a table lock: PostgreSQL locks the table to print a policy's expressions. They are cached
per version of the policy's row, so only the first read can wait.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from costtrack.database.declared import Migration
from costtrack.roles import TENANT_ROLE

Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Run one SELECT with its parameters and return its rows."""

_ROLE = """
SELECT oid, rolsuper, rolbypassrls, rolcanlogin, rolcreaterole, rolcreatedb, rolreplication,
    pg_has_role(current_user, oid,
        CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END),
    has_schema_privilege(oid, 'public', 'USAGE'),
    ARRAY(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = pg_roles.oid ORDER BY 1)
FROM pg_roles WHERE rolname = %s
"""
# A ledger may have thousands of partitions; only those that the role can reach matter.
_RELATIONS = """
SELECT relation.relname, relation.relkind::text, relation.relispartition, relation.relrowsecurity,
    relation.relforcerowsecurity, pg_has_role(relation.relowner, 'USAGE'),
    coalesce((SELECT option_value::boolean FROM pg_options_to_table(relation.reloptions)
        WHERE option_name = 'security_invoker'), false),
    ARRAY(SELECT privilege_type FROM aclexplode(relation.relacl) WHERE grantee = role.oid
        UNION ALL
        SELECT format('%%s (%%s)', privilege_type, attname)
        FROM pg_attribute, aclexplode(attacl)
        WHERE attrelid = relation.oid AND attacl IS NOT NULL AND grantee = role.oid
        ORDER BY 1),
    (SELECT parent.relname FROM pg_class AS parent WHERE parent.oid = CASE
        WHEN relation.relispartition THEN pg_partition_root(relation.oid)
        WHEN relation.relkind = 'S' THEN (SELECT refobjid FROM pg_depend WHERE classid = 'pg_class'::regclass
            AND objid = relation.oid AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i'))
    END)
FROM pg_class AS relation LEFT JOIN pg_roles AS role ON role.rolname = %s
WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'p', 'v', 'S')
    AND (NOT relation.relispartition
        OR has_table_privilege(role.oid, relation.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))
"""
_DEFAULT_PRIVILEGES = """
SELECT defaclobjtype::text, ARRAY(SELECT privilege_type FROM aclexplode(defaclacl) WHERE grantee = role.oid ORDER BY 1)
FROM pg_default_acl JOIN pg_roles AS role ON role.rolname = %s
WHERE defaclrole = current_user::regrole AND defaclnamespace = 'public'::regnamespace
"""
_POLICIES = """
SELECT relation.relname, polname, polpermissive, polcmd::text,
    ARRAY(SELECT CASE WHEN role = 0 THEN 'public' ELSE pg_get_userbyid(role)::text END FROM unnest(polroles) AS role),
    policy.oid, policy.xmin::text
FROM pg_policy AS policy JOIN pg_class AS relation ON relation.oid = polrelid
WHERE relation.relnamespace = 'public'::regnamespace
"""
_EXPRESSIONS = """
SELECT oid, xmin::text, coalesce(pg_get_expr(polqual, polrelid), ''), coalesce(pg_get_expr(polwithcheck, polrelid), '')
FROM pg_policy WHERE oid = ANY(%s)
"""
_FUNCTIONS = """
SELECT proname, prosrc, prosecdef,
    has_function_privilege(coalesce(role.rolname, 'public'), routine.oid, 'EXECUTE'),
    routine.oid::regprocedure::text
FROM pg_proc AS routine LEFT JOIN pg_roles AS role ON role.rolname = %s
WHERE pronamespace = 'public'::regnamespace AND proname = ANY(%s)
"""
_TRIGGERS = """
SELECT relation.relname, tgname, tgenabled::text FROM pg_trigger JOIN pg_class AS relation ON relation.oid = tgrelid
WHERE NOT tgisinternal AND relation.relnamespace = 'public'::regnamespace AND tgname = ANY(%s)
"""


@dataclass(frozen=True, slots=True)
class Role:
    """The tenant role. `excess` are attributes that it must not have, `member_of` the roles it is a member of."""

    excess: tuple[str, ...]
    can_be_taken: bool
    has_schema: bool
    member_of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view or sequence. `privileges` are those granted to the tenants' role itself (`SELECT`, or
    `SELECT (name)` for one column); `table` is the one that a
    sequence or a partition belongs to."""

    name: str
    kind: str
    is_partition: bool
    has_row_security: bool
    is_forced: bool
    is_owned: bool
    is_security_invoker: bool
    privileges: frozenset[str]
    table: str | None


@dataclass(frozen=True, slots=True)
class Policy:
    """`expressions` are USING and WITH CHECK, without spaces and parentheses."""

    table: str
    name: str
    is_permissive: bool
    command: str
    roles: tuple[str, ...]
    expressions: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    body: str
    is_security_definer: bool
    is_executable: bool
    signature: str


@dataclass(frozen=True, slots=True)
class Trigger:
    table: str
    name: str
    is_enabled: bool


_expression_cache: dict[tuple[int, str], tuple[str, str]] = {}


def over(connection: "psycopg.Connection[Any]") -> Fetch:
    """Read over a psycopg connection."""
    return partial(_fetch_over, connection)


def _fetch_over(connection: "psycopg.Connection[Any]", query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    return connection.execute(query, parameters).fetchall()


def read_applied(fetch: Fetch) -> frozenset[Migration]:
    """Return the applied migrations; none if their table does not exist."""
    if fetch("SELECT to_regclass('django_migrations')", ()) == [(None,)]:
        return frozenset()
    return frozenset((app, name) for app, name in fetch("SELECT app, name FROM django_migrations", ()))


def read_role(fetch: Fetch) -> Role | None:
    """Return the tenant role, or None if this cluster has none."""
    names = ("SUPERUSER", "BYPASSRLS", "LOGIN", "CREATEROLE", "CREATEDB", "REPLICATION")
    for _, *attributes, can_be_taken, has_schema, member_of in fetch(_ROLE, (TENANT_ROLE,)):
        excess = tuple(name for name, has in zip(names, attributes, strict=True) if has)
        return Role(excess, can_be_taken, has_schema, tuple(member_of))
    return None


def read_relations(fetch: Fetch) -> dict[str, Relation]:
    relations = {}
    for name, kind, *flags, privileges, table in fetch(_RELATIONS, (TENANT_ROLE,)):
        is_partition, has_row_security, is_forced, is_owned, is_security_invoker = flags
        relations[name] = Relation(
            name=name,
            kind=kind,
            is_partition=is_partition,
            has_row_security=has_row_security,
            is_forced=is_forced,
            is_owned=is_owned,
            is_security_invoker=is_security_invoker,
            privileges=frozenset(privileges),
            table=table,
        )
    return relations


def read_default_privileges(fetch: Fetch) -> dict[str, frozenset[str]]:
    """Return the default privileges of the tenant role on new tables (`r`) and sequences (`S`) of the current user."""
    return {kind: frozenset(granted) for kind, granted in fetch(_DEFAULT_PRIVILEGES, (TENANT_ROLE,))}


def read_policies(fetch: Fetch) -> list[Policy]:
    rows = fetch(_POLICIES, ())
    unknown = [oid for *_, oid, version in rows if (oid, version) not in _expression_cache]
    if unknown:
        for oid, version, using, check in fetch(_EXPRESSIONS, (unknown,)):
            _expression_cache[oid, version] = (canonical(using), canonical(check))
    return [
        Policy(table, name, permissive, command, tuple(roles), _expression_cache.get((oid, version), ("", "")))
        for table, name, permissive, command, roles, oid, version in rows
    ]


def read_functions(fetch: Fetch, names: Sequence[str]) -> dict[str, list[Function]]:
    """Return the functions with these names; several for an overloaded name."""
    functions: dict[str, list[Function]] = {}
    for name, *rest in fetch(_FUNCTIONS, (TENANT_ROLE, list(names))):
        functions.setdefault(name, []).append(Function(name, *rest))
    return functions


def read_triggers(fetch: Fetch, names: Sequence[str]) -> dict[tuple[str, str], Trigger]:
    rows = fetch(_TRIGGERS, (list(names),))
    return {(table, name): Trigger(table, name, enabled in "OA") for table, name, enabled in rows}


def canonical(expression: str) -> str:
    """Normalize an expression, so that a migration's text and PostgreSQL's output are equal."""
    return re.sub(r"\s+AS\s+\w+|[\s()]", "", expression)
