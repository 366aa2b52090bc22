"""The SQL that distributes a database, step by step. Each step lists what is still to do, so a run that was interrupted
continues, and one after an upgrade adds the new tables.

`create_distributed_table` moves the rows, so nothing may write meanwhile. Foreign keys are dropped before and added
afterwards, because Citus refuses those between a table that it knows and one that it does not know. Their definitions
are stored in a table until they are back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import connection
from psycopg import sql

from billing.distribution.distributed_tables import ForeignKey, TableKind, kinds, read_foreign_keys
from billing.ledger.partitions import LEDGER, shared_name
from costtrack.database.catalog import read_policies
from costtrack.database.declared import declared
from costtrack.database.distributed import (
    MEMBERS_FUNCTION,
    distributed_function,
    distributed_functions,
    without_subqueries,
)
from costtrack.database.inspection import expressions_of
from costtrack.database.queries import fetch_rows
from costtrack.database.repair import applied_migrations
from costtrack.roles import TENANT_ROLE

_LOCAL_KEYS = "citus.enable_local_reference_table_foreign_keys"
_STORED_KEYS = "costtrack_foreign_keys"
_SETTINGS = {
    # Settings of a transaction apply to the workers, too: row-level security reads one.
    "citus.propagate_set_commands": "local",
    # Those of the ledger and of the audit log, which refuse changes: a shard's trigger refuses them as well.
    "citus.enable_unsafe_triggers": "on",
    "plan_cache_mode": "force_custom_plan",
    # Views call functions that read other tables of the organization, also on a worker.
    "citus.allow_nested_distributed_execution": "on",
    # A foreign key to a reference table would make a new table one that Citus cannot distribute any longer.
    _LOCAL_KEYS: "off",
}
_DATABASE_SETTINGS = """
SELECT unnest(setconfig) FROM pg_db_role_setting
WHERE setrole = 0 AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_CANNOT_SIGN_IN = "SELECT FROM pg_roles WHERE rolname = %s AND NOT rolcanlogin"
# Those of identity columns in tables that the role inserts into. PostgreSQL alone needs no right for them.
_SEQUENCES = """
SELECT sequence.relname::text
FROM pg_depend
JOIN pg_class AS sequence ON sequence.oid = objid
WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype = 'i'
    AND sequence.relnamespace = 'public'::regnamespace
    AND has_table_privilege(%(role)s, refobjid, 'INSERT')
    AND CASE sequence.relkind WHEN 'S' THEN NOT has_sequence_privilege(%(role)s, sequence.oid, 'USAGE') END
ORDER BY 1
"""
_CHANGED_FUNCTIONS = """
SELECT proname::text, prosrc, pg_get_functiondef(oid) FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proname = ANY(%s)
ORDER BY 1
"""
_FUNCTIONS = """
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND 'plan_cache_mode=force_generic_plan' = ANY (proconfig)
ORDER BY 1
"""
_MONTHS = """
SELECT month.relname::text, pg_get_expr(month.relpartbound, month.oid),
    ARRAY(SELECT leaf.relname::text FROM pg_inherits JOIN pg_class AS leaf ON leaf.oid = inhrelid
        WHERE inhparent = month.oid ORDER BY leaf.relname)
FROM pg_inherits JOIN pg_class AS month ON month.oid = inhrelid
WHERE inhparent = %s::regclass AND month.relkind = 'p'
ORDER BY month.relname
"""


@dataclass(frozen=True, slots=True)
class Step:
    """A sentence about statements, which are complete SQL without parameters."""

    title: str
    statements: tuple[str, ...]


def steps(present: dict[str, str]) -> list[Step]:
    """Return what is still to do; nothing if the database is distributed. `present` are the kinds of the tables that
    Citus knows."""
    keys, dropped = read_foreign_keys(), _dropped_keys()
    expected = kinds([*keys, *dropped])
    missing = {name: kind for name, kind in expected.items() if present.get(name) != kind}
    affected = [key for key in keys if key.table in missing or key.referenced in missing]
    found = [
        Step("Settings of this database, on every server", tuple(_settings())),
        Step("The tenants' role connects to the workers", tuple(_role())),
        Step("Functions without what Citus refuses: cached plans, COPY, and SQL with parameters", tuple(_functions())),
        Step("Policies without a subquery, which Citus refuses", tuple(_policies())),
        Step("The ledger has one level of partitions, the months", tuple(_months())),
        Step("Foreign keys are stored and dropped until the tables are distributed", tuple(_drops(affected))),
        Step("Every server has a copy of these tables", tuple(_references(missing))),
        Step("The tables of tenants are distributed by organization", tuple(_distributed(missing))),
        Step("The foreign keys are added again", tuple(_adds([*affected, *dropped]))),
        Step("The tenants' role numbers the rows that it inserts", tuple(_sequences())),
    ]
    return [step for step in found if step.statements]


def expected_kinds() -> dict[str, TableKind]:
    return kinds([*read_foreign_keys(), *_dropped_keys()])


def session_settings() -> list[str]:
    """Return the statements that set Citus's settings for the session that runs the steps."""
    return [f"SET {name} = '{value}'" for name, value in {**_SETTINGS, _LOCAL_KEYS: "on"}.items()]


def _dropped_keys() -> list[ForeignKey]:
    """Return the foreign keys that an interrupted run has dropped."""
    if not _has_stored_keys():
        return []
    stored = [ForeignKey(*row) for row in fetch_rows(f"SELECT name, owner, referenced, definition FROM {_STORED_KEYS}")]  # noqa: S608 - a constant
    present = {(key.table, key.name) for key in read_foreign_keys()}
    return [key for key in stored if (key.table, key.name) not in present]


def _has_stored_keys() -> bool:
    return fetch_rows("SELECT to_regclass(%s)", [_STORED_KEYS]) != [(None,)]


def _settings() -> Iterator[str]:
    present = {setting for (setting,) in fetch_rows(_DATABASE_SETTINGS)}
    database = str(connection.settings_dict["NAME"])
    for name, value in _SETTINGS.items():
        if f"{name}={value}" not in present:
            change = _text("ALTER DATABASE {} SET {} = {}", sql.Identifier(database), sql.SQL(name), sql.Literal(value))
            yield change
            yield _text("SELECT run_command_on_workers({})", sql.Literal(change))


def _role() -> Iterator[str]:
    if fetch_rows(_CANNOT_SIGN_IN, [TENANT_ROLE]):
        yield f"ALTER ROLE {TENANT_ROLE} LOGIN"


def _sequences() -> Iterator[str]:
    for (name,) in fetch_rows(_SEQUENCES, {"role": TENANT_ROLE}):
        yield f"GRANT USAGE ON SEQUENCE {name} TO {TENANT_ROLE}"


def _functions() -> Iterator[str]:
    bodies = {item.name: item.sql for item in declared(applied_migrations()) if item.kind == "function"}
    for name, body, created in fetch_rows(_CHANGED_FUNCTIONS, [distributed_functions()]):
        changed = distributed_function(name, bodies[name])
        if changed != body:
            yield created.replace("LANGUAGE sql", "LANGUAGE plpgsql").replace(body, changed).rstrip()
    for (signature,) in fetch_rows(_FUNCTIONS):
        yield f"ALTER FUNCTION {signature} SET plan_cache_mode = force_custom_plan"


def _policies() -> Iterator[str]:
    present = {policy.name: policy.expressions for policy in read_policies(fetch_rows)}
    changed = [
        (item.name, without_subqueries(item.sql)) for item in declared(applied_migrations()) if item.kind == "policy"
    ]
    different = [policy for name, policy in changed if present.get(name) != expressions_of(policy)]
    if any("organizations_is_member" in policy for policy in different):
        yield MEMBERS_FUNCTION
    for policy in different:
        yield policy.replace("CREATE POLICY", "ALTER POLICY")


def _months() -> Iterator[str]:
    """Each month becomes a plain table: its shared partition, with the rows of all organizations."""
    for month, bounds, leaves in fetch_rows(_MONTHS, [LEDGER]):
        shared = shared_name(month)
        yield f"ALTER TABLE {month} DETACH PARTITION {shared}"
        for leaf in leaves:
            if leaf != shared:
                yield f"INSERT INTO {shared} SELECT * FROM {leaf}"  # noqa: S608 - names of the catalog
        yield f"ALTER TABLE {LEDGER} DETACH PARTITION {month}"
        yield f"DROP TABLE {month}"
        yield f"ALTER TABLE {LEDGER} ATTACH PARTITION {shared} {bounds}"


def _drops(keys: Sequence[ForeignKey]) -> Iterator[str]:
    if keys and not _has_stored_keys():
        yield (
            f"CREATE TABLE {_STORED_KEYS}"
            " (owner text, name text, referenced text, definition text, PRIMARY KEY (owner, name))"
        )
    for key in keys:
        yield _text(
            "INSERT INTO {} VALUES ({}, {}, {}, {}) ON CONFLICT DO NOTHING",
            sql.Identifier(_STORED_KEYS),
            *map(sql.Literal, (key.table, key.name, key.referenced, key.definition)),
        )
        yield f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}"


def _references(missing: dict[str, TableKind]) -> Iterator[str]:
    for name, kind in missing.items():
        if kind is TableKind.REFERENCE:
            yield f"SELECT create_reference_table('{name}')"


def _distributed(missing: dict[str, TableKind]) -> Iterator[str]:
    """All tables are in one group, so the rows of an organization are on one server."""
    for name, kind in missing.items():
        if kind is TableKind.DISTRIBUTED:
            together = "none" if name == LEDGER else LEDGER
            yield f"SELECT create_distributed_table('{name}', 'organization_id', colocate_with => '{together}')"


def _adds(keys: Sequence[ForeignKey]) -> Iterator[str]:
    """A table on the coordinator becomes known to Citus with its first foreign key to a reference table."""
    for key in keys:
        yield f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {key.definition}"
    if keys or _has_stored_keys():
        yield f"DROP TABLE {_STORED_KEYS}"


def _text(template: str, *parts: sql.Composable) -> str:
    with connection.cursor() as cursor:
        return sql.SQL(template).format(*parts).as_string(cursor.connection)
