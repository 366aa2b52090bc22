"""Compares the database with its migrations: the tenants' role and its grants, row-level security, policies, functions,
triggers and views.

A dump of one database does not contain the role, which belongs to the whole cluster. Without the role, PostgreSQL
cannot restore grants and policies, and continues without them. `repair` restores them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from django.apps import apps
from django.conf import settings
from psycopg import sql

from costtrack.database import catalog
from costtrack.database.catalog import Fetch, Policy, Relation, Role
from costtrack.database.declared import Declared, Migration, declared, is_of_a_later_release, pending, rights_of
from costtrack.database.distributed import distributed_function, without_subqueries
from costtrack.roles import TENANT_ROLE

# What the migration 0002 of `organizations` granted on everything, until a migration granted what each table needs.
_TABLE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_SEQUENCE = frozenset({"USAGE", "SELECT"})
_NOTHING: frozenset[str] = frozenset()
_TENANT = sql.Identifier(TENANT_ROLE)
_MAX_KINDS = 2


class Kind(StrEnum):
    """Kinds of problems, in the order of their repair: nothing is granted before policies protect it."""

    ROLE = "role missing"
    ROLE_ATTRIBUTE = f"attributes that {TENANT_ROLE} must not have"
    ROLE_MEMBERSHIP = f"roles that {TENANT_ROLE} must not be a member of"
    ROLE_NOT_GRANTED = f"database users that cannot act as {TENANT_ROLE}"
    ROW_SECURITY = "row-level security that differs from the migrations"
    EXTRA_POLICY = "policies without a migration"
    WRONG_POLICY = "policies that differ from the migrations"
    MISSING_POLICY = "policies missing"
    VIEW = "views that are not security_invoker"
    TRIGGER = "triggers disabled"
    PARTITION = "partitions that tenants reach directly"
    SCHEMA = "schema grants missing"
    DEFAULT_PRIVILEGE = "default privileges that differ from the migrations"
    TABLE_GRANT = "table grants that differ from the migrations"
    SEQUENCE_GRANT = "sequence grants that differ from the migrations"
    FUNCTION_GRANT = "function grants missing"
    MISSING_TABLE = "tables missing"
    MISSING_VIEW = "views missing"
    MISSING_FUNCTION = "functions missing"
    WRONG_FUNCTION = "functions that differ from the migrations"
    MISSING_TRIGGER = "triggers missing"
    OWNER = "tables owned by another user"


@dataclass(frozen=True, slots=True)
class Problem:
    """A difference from the migrations. Without `statements` it cannot be repaired here."""

    kind: Kind
    subject: str
    statements: tuple[sql.Composable, ...] = field(default=(), compare=False)


def inspect(fetch: Fetch, applied: frozenset[Migration]) -> list[Problem]:
    """Return all differences from the applied migrations, in the order of `Kind`. Empty if no migration was applied
    yet."""
    if not any(item.kind == "policy" for item in declared(applied)):
        return []
    grants = _declared_grants(applied)
    problems = [*_inspect_role(fetch, has_defaults=grants is None), *_inspect_objects(fetch, applied, grants)]
    order = list(Kind)
    return sorted(problems, key=lambda problem: (order.index(problem.kind), problem.subject))


def summarize(problems: Sequence[Problem], max_subjects: int = 3) -> list[str]:
    """Return one line per kind, with the number of problems and the first subjects."""
    lines = []
    for kind in Kind:
        subjects = [problem.subject for problem in problems if problem.kind == kind]
        if subjects:
            more = f" and {len(subjects) - max_subjects:,} more" if len(subjects) > max_subjects else ""
            lines.append(f"{kind} ({len(subjects):,}): {', '.join(subjects[:max_subjects])}{more}")
    return lines


def describe(problems: Sequence[Problem]) -> str:
    """Return one line for operators: the problems and how to repair them."""
    lines = summarize(problems)
    if len(lines) > _MAX_KINDS:
        lines = [*lines[:_MAX_KINDS], f"{len(lines) - _MAX_KINDS} more kinds of problems"]
    text = "; ".join(lines)
    return f"{text[:1].upper()}{text[1:]}. Run the management command repair_roles."


def _declared_grants(applied: frozenset[Migration]) -> dict[str, frozenset[str]] | None:
    """Return the declared rights by table. None: on all tables, also future ones, before a migration declares them."""
    grants = {item.table: rights_of(item) for item in declared(applied) if item.kind == "grant"}
    return grants or None


def _inspect_role(fetch: Fetch, *, has_defaults: bool) -> Iterator[Problem]:
    role = catalog.read_role(fetch)
    [(user,)] = fetch("SELECT current_user::text", ())
    take = sql.SQL("GRANT {} TO {}").format(_TENANT, sql.Identifier(user))
    if role is None:
        yield Problem(Kind.ROLE, TENANT_ROLE, (sql.SQL("CREATE ROLE {} NOLOGIN").format(_TENANT), take))
    else:
        yield from _inspect_attributes(role)
        if not role.can_be_taken:
            yield Problem(Kind.ROLE_NOT_GRANTED, user, (take,))
    if role is None or not role.has_schema:
        statement = sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(_TENANT)
        yield Problem(Kind.SCHEMA, "public", (statement,))
    defaults = catalog.read_default_privileges(fetch)
    for kind, name, granted in (("r", "TABLES", _TABLE), ("S", "SEQUENCES", _SEQUENCE)):
        current = defaults.get(kind, _NOTHING)
        if has_defaults and not granted <= current:
            change = sql.SQL("GRANT {} ON {} TO {}").format(_listed(granted), sql.SQL(name), _TENANT)
        elif current and not has_defaults:
            change = sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.SQL(name), _TENANT)
        else:
            continue
        statement = sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA public {}").format(change)
        yield Problem(Kind.DEFAULT_PRIVILEGE, name.lower(), (statement,))


def _inspect_attributes(role: Role) -> Iterator[Problem]:
    # The coordinator connects to the workers as this role.
    excess = [name for name in role.excess if not (settings.DISTRIBUTED and name == "LOGIN")]
    for attribute in excess:
        yield Problem(
            Kind.ROLE_ATTRIBUTE, attribute, (sql.SQL("ALTER ROLE {} {}").format(_TENANT, sql.SQL(f"NO{attribute}")),)
        )
    for other in role.member_of:
        statement = sql.SQL("REVOKE {} FROM {}").format(sql.SQL(other), _TENANT)
        yield Problem(Kind.ROLE_MEMBERSHIP, other, (statement,))


def _inspect_objects(
    fetch: Fetch, applied: frozenset[Migration], grants: dict[str, frozenset[str]] | None
) -> Iterator[Problem]:
    relations = catalog.read_relations(fetch)
    names = _table_names()
    if grants is None or not is_of_a_later_release(applied):
        yield from _inspect_grants(relations, names, grants)
    if not pending(applied):
        missing = [name for name in sorted(names) if name not in relations]
        views = {item.name for item in declared(applied) if item.kind == "view"}
        yield from (Problem(Kind.MISSING_TABLE, name) for name in missing if name not in views)
    if is_of_a_later_release(applied):
        return  # it may have replaced objects of this release
    items = [item for item in declared(applied) if not item.table or item.table in names]
    yield from _inspect_policies(fetch, relations, {item.table: item for item in items if item.kind == "policy"})
    yield from _inspect_views(relations, [item for item in items if item.kind == "view"])
    yield from _inspect_functions(fetch, [item for item in items if item.kind == "function"])
    yield from _inspect_triggers(fetch, [item for item in items if item.kind == "trigger"])


def _inspect_grants(
    relations: dict[str, Relation], tables: frozenset[str], grants: dict[str, frozenset[str]] | None
) -> Iterator[Problem]:
    for relation in relations.values():
        name = sql.Identifier(relation.name)
        if (relation.table or relation.name) not in tables:
            continue
        if relation.is_partition:
            statement = sql.SQL("REVOKE ALL ON {} FROM {}").format(name, _TENANT)
            yield Problem(Kind.PARTITION, relation.name, (statement,))
            continue
        if not relation.is_owned:
            yield Problem(Kind.OWNER, relation.name)
        is_sequence = relation.kind == "S"
        before = _SEQUENCE if is_sequence else _TABLE
        expected = before if grants is None else grants.get(relation.name, _NOTHING)
        if is_sequence and settings.DISTRIBUTED:  # Citus numbers rows as the role that inserts them
            expected |= relation.privileges & {"USAGE"}
        if relation.privileges != expected:
            on = sql.SQL("SEQUENCE {}" if is_sequence else "TABLE {}").format(name)
            statements = [sql.SQL("GRANT {} ON {} TO {}").format(_listed(expected), on, _TENANT)] if expected else []
            if not relation.privileges <= expected:
                statements.insert(0, sql.SQL("REVOKE ALL ON {} FROM {}").format(on, _TENANT))
            kind = Kind.SEQUENCE_GRANT if is_sequence else Kind.TABLE_GRANT
            yield Problem(kind, relation.name, tuple(statements))


def _inspect_policies(fetch: Fetch, relations: dict[str, Relation], expected: dict[str, Declared]) -> Iterator[Problem]:
    policies = {(policy.table, policy.name): policy for policy in catalog.read_policies(fetch)}
    for table, item in expected.items():
        relation = relations.get(table)
        if relation is None:
            continue  # reported as a missing table
        name = sql.Identifier(table)
        if not relation.has_row_security or relation.is_forced:
            enable = sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY").format(name)
            yield Problem(Kind.ROW_SECURITY, table, (enable,))
        create = sql.SQL(item.sql)
        policy = policies.pop((table, item.name), None)
        if policy is None:
            yield Problem(Kind.MISSING_POLICY, item.name, (create,))
        elif not _is_as_declared(policy, item):
            yield Problem(Kind.WRONG_POLICY, item.name, (_drop(policy), create))
    for policy in policies.values():
        if policy.table in expected and not {"public", TENANT_ROLE}.isdisjoint(policy.roles):
            yield Problem(Kind.EXTRA_POLICY, f"{policy.name} on {policy.table}", (_drop(policy),))


def _drop(policy: Policy) -> sql.Composed:
    return sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(policy.name), sql.Identifier(policy.table))


def _is_as_declared(policy: Policy, item: Declared) -> bool:
    """Whether the policy is the declared one, or the equal one of a distributed database."""
    return (
        policy.is_permissive
        and (policy.command, policy.roles) == ("*", (TENANT_ROLE,))
        and policy.expressions in {expressions_of(item.sql), expressions_of(without_subqueries(item.sql))}
    )


def expressions_of(policy: str) -> tuple[str, str]:
    """Return USING and WITH CHECK of the statement that creates a policy, as `catalog.Policy` has them."""
    using, _, check = policy.partition(" USING ")[2].partition(" WITH CHECK ")
    return catalog.canonical(using), catalog.canonical(check)


def _inspect_views(relations: dict[str, Relation], views: Sequence[Declared]) -> Iterator[Problem]:
    for item in views:
        relation = relations.get(item.name)
        if relation is None:
            yield Problem(Kind.MISSING_VIEW, _with_migration(item))
        elif not relation.is_security_invoker:
            statement = sql.SQL("ALTER VIEW {} SET (security_invoker = true)").format(sql.Identifier(item.name))
            yield Problem(Kind.VIEW, item.name, (statement,))


def _inspect_functions(fetch: Fetch, functions: Sequence[Declared]) -> Iterator[Problem]:
    found = catalog.read_functions(fetch, [item.name for item in functions])
    for item in functions:
        routines = found.get(item.name, [])
        if not routines:
            yield Problem(Kind.MISSING_FUNCTION, _with_migration(item))
        for routine in routines:
            bodies = (item.sql, distributed_function(item.name, item.sql))
            if routine.body not in bodies or routine.is_security_definer:
                yield Problem(Kind.WRONG_FUNCTION, _with_migration(item))
            if not routine.is_executable:
                statement = sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(routine.signature), _TENANT)
                yield Problem(Kind.FUNCTION_GRANT, routine.name, (statement,))


def _inspect_triggers(fetch: Fetch, triggers: Sequence[Declared]) -> Iterator[Problem]:
    found = catalog.read_triggers(fetch, [item.name for item in triggers])
    for item in triggers:
        trigger = found.get((item.table, item.name))
        if trigger is None:
            yield Problem(Kind.MISSING_TRIGGER, f"{item.name} on {item.table} ({item.migration})")
        elif not trigger.is_enabled:
            statement = sql.SQL("ALTER TABLE {} ENABLE TRIGGER {}").format(
                sql.Identifier(item.table), sql.Identifier(item.name)
            )
            yield Problem(Kind.TRIGGER, f"{item.name} on {item.table}", (statement,))


def _with_migration(item: Declared) -> str:
    return f"{item.name} ({item.migration})"


def _listed(privileges: frozenset[str]) -> sql.Composable:
    return sql.SQL(", ").join(map(sql.SQL, sorted(privileges)))


def _table_names() -> frozenset[str]:
    """Return the names of the tables and views of all models."""
    return frozenset(
        model._meta.db_table  # noqa: SLF001 - documented for this
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy  # noqa: SLF001
    )
