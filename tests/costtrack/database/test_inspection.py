"""Each thing that a database may lack is found, named and put right; what cannot be put right is left and said."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import sql

from costtrack.database.inspection import Kind, Problem
from costtrack.database.repair import find_problems, repair

pytestmark = pytest.mark.django_db

# A statement that breaks something, and what is found then.
MENDABLE = [
    ("ALTER ROLE costtrack_tenant BYPASSRLS", Kind.ROLE_ATTRIBUTE, "BYPASSRLS"),
    ("ALTER ROLE costtrack_tenant CREATEROLE", Kind.ROLE_ATTRIBUTE, "CREATEROLE"),
    ("ALTER ROLE costtrack_tenant LOGIN", Kind.ROLE_ATTRIBUTE, "LOGIN"),
    ("GRANT pg_monitor TO costtrack_tenant", Kind.ROLE_MEMBERSHIP, "pg_monitor"),
    ("ALTER TABLE billing_run DISABLE ROW LEVEL SECURITY", Kind.ROW_SECURITY, "billing_run"),
    ("ALTER TABLE billing_run FORCE ROW LEVEL SECURITY", Kind.ROW_SECURITY, "billing_run"),
    ("DROP POLICY billing_run_tenant ON billing_run", Kind.MISSING_POLICY, "billing_run_tenant"),
    ("ALTER POLICY billing_run_tenant ON billing_run USING (true)", Kind.WRONG_POLICY, "billing_run_tenant"),
    ("ALTER POLICY billing_run_tenant ON billing_run WITH CHECK (true)", Kind.WRONG_POLICY, "billing_run_tenant"),
    ("ALTER POLICY billing_run_tenant ON billing_run TO PUBLIC", Kind.WRONG_POLICY, "billing_run_tenant"),
    ("CREATE POLICY open ON billing_run USING (true)", Kind.EXTRA_POLICY, "open on billing_run"),
    ("ALTER VIEW billing_liverunday RESET (security_invoker)", Kind.VIEW, "billing_liverunday"),
    ("GRANT SELECT ON billing_usageevent_2026_11 TO costtrack_tenant", Kind.PARTITION, "billing_usageevent_2026_11"),
    ("REVOKE USAGE ON SCHEMA public FROM PUBLIC, costtrack_tenant", Kind.SCHEMA, "public"),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO costtrack_tenant",
        Kind.DEFAULT_PRIVILEGE,
        "tables",
    ),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO costtrack_tenant",
        Kind.DEFAULT_PRIVILEGE,
        "sequences",
    ),
    ("REVOKE INSERT ON billing_run FROM costtrack_tenant", Kind.TABLE_GRANT, "billing_run"),
    ("GRANT UPDATE (model) ON billing_usageevent TO costtrack_tenant", Kind.TABLE_GRANT, "billing_usageevent"),
    ("GRANT SELECT (password) ON organizations_user TO costtrack_tenant", Kind.TABLE_GRANT, "organizations_user"),
    ("REVOKE SELECT ON organizations_user FROM costtrack_tenant", Kind.TABLE_GRANT, "organizations_user"),
    ("GRANT SELECT ON django_session TO costtrack_tenant", Kind.TABLE_GRANT, "django_session"),
    ("GRANT TRUNCATE ON billing_run TO costtrack_tenant", Kind.TABLE_GRANT, "billing_run"),
    ("REVOKE ALL ON billing_liverunday FROM costtrack_tenant", Kind.TABLE_GRANT, "billing_liverunday"),
    (
        "GRANT USAGE ON SEQUENCE billing_spendlimit_id_seq TO costtrack_tenant",
        Kind.SEQUENCE_GRANT,
        "billing_spendlimit_id_seq",
    ),
    (
        "REVOKE EXECUTE ON FUNCTION costtrack_organizations FROM PUBLIC",
        Kind.FUNCTION_GRANT,
        "costtrack_organizations",
    ),
    (
        "ALTER TABLE billing_usageevent DISABLE TRIGGER usageevent_append_only",
        Kind.TRIGGER,
        "usageevent_append_only on billing_usageevent",
    ),
]
NOT_MENDABLE = [
    ("DROP TABLE billing_rollupcheck", Kind.MISSING_TABLE, "billing_rollupcheck"),
    ("DROP VIEW billing_liverunday", Kind.MISSING_VIEW, "billing_liverunday (billing.0061_run_times)"),
    (
        "DROP FUNCTION organizations_credential_version",
        Kind.MISSING_FUNCTION,
        "organizations_credential_version (organizations.0002_database_rules)",
    ),
    (
        "CREATE OR REPLACE FUNCTION costtrack_organizations() RETURNS bigint[] LANGUAGE sql AS 'SELECT NULL::bigint[]'",
        Kind.WRONG_FUNCTION,
        "costtrack_organizations (organizations.0002_database_rules)",
    ),
    (
        "ALTER FUNCTION costtrack_organizations SECURITY DEFINER",
        Kind.WRONG_FUNCTION,
        "costtrack_organizations (organizations.0002_database_rules)",
    ),
    (
        "DROP TRIGGER auditentry_append_only ON organizations_auditentry",
        Kind.MISSING_TRIGGER,
        "auditentry_append_only on organizations_auditentry (billing.0072_erasures)",
    ),
]


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL(statement))


@pytest.mark.parametrize(("statement", "kind", "subject"), MENDABLE)
def test_what_is_wrong_is_found_and_put_right(statement: str, kind: Kind, subject: str) -> None:
    run(statement)
    assert find_problems() == [Problem(kind, subject)]
    outcome = repair(find_problems())
    assert (outcome.repaired, outcome.left, outcome.refusals) == ([Problem(kind, subject)], [], {})
    assert find_problems() == []


def test_rights_that_reach_every_table_are_found_on_the_role_and_on_the_partitions() -> None:
    run("ALTER ROLE costtrack_tenant SUPERUSER")
    kinds = {problem.kind for problem in find_problems()}
    assert kinds == {Kind.ROLE_ATTRIBUTE, Kind.PARTITION}
    assert repair(find_problems()).left == []


@pytest.mark.parametrize(("statement", "kind", "subject"), NOT_MENDABLE)
def test_what_a_restore_must_bring_is_found_and_left(statement: str, kind: Kind, subject: str) -> None:
    run(statement)
    assert find_problems() == [Problem(kind, subject)]
    output = io.StringIO()
    with pytest.raises(CommandError, match="restore the dump again into an empty database"):
        call_command("repair_roles", stdout=output)
    assert output.getvalue() == f"Not repaired: {kind} (1): {subject}\n"
    assert find_problems() == [Problem(kind, subject)]


def test_a_policy_for_a_foreign_role_is_left_alone() -> None:
    run("CREATE POLICY reporting ON billing_run TO pg_monitor USING (true)")
    assert find_problems() == []


def test_a_table_of_a_foreign_owner_is_left_alone() -> None:
    run("CREATE TABLE theirs (id int) PARTITION BY LIST (id)")
    run("CREATE TABLE theirs_1 PARTITION OF theirs FOR VALUES IN (1)")
    run("REVOKE ALL ON theirs FROM costtrack_tenant")
    assert find_problems() == []


def test_nothing_is_expected_of_a_migration_that_is_not_applied() -> None:
    run("DROP FUNCTION organizations_credential_version")
    run("DELETE FROM django_migrations WHERE app = 'organizations' AND name = '0002_database_rules'")
    assert find_problems() == []


def test_what_a_later_release_has_replaced_is_not_judged_by_this_one() -> None:
    """In a rolling deployment the processes of the earlier release still run."""
    run("DROP FUNCTION organizations_credential_version")
    run("REVOKE SELECT ON billing_run FROM costtrack_tenant")
    run("ALTER ROLE costtrack_tenant LOGIN")
    run("INSERT INTO django_migrations (app, name, applied) VALUES ('billing', '9999_later', now())")
    assert find_problems() == [Problem(Kind.ROLE_ATTRIBUTE, "LOGIN")]


def test_check_changes_nothing_and_ends_with_an_error() -> None:
    run("DROP POLICY billing_run_tenant ON billing_run")
    run("REVOKE SELECT ON billing_run FROM costtrack_tenant")
    run("DROP VIEW billing_liverunday")
    before = find_problems()
    output = io.StringIO()
    with pytest.raises(CommandError, match=r"^3 problems found"):
        call_command("repair_roles", check=True, stdout=output)
    assert output.getvalue().splitlines() == [
        "Would repair: policies missing (1): billing_run_tenant",
        "Would repair: table grants that differ from the migrations (1): billing_run",
        "Cannot repair: views missing (1): billing_liverunday (billing.0061_run_times)",
    ]
    assert find_problems() == before


def test_a_second_run_changes_nothing() -> None:
    run("DROP POLICY billing_run_tenant ON billing_run")
    lines = []
    for _ in range(2):
        output = io.StringIO()
        call_command("repair_roles", stdout=output)
        lines.append(output.getvalue().splitlines())
    complete = "The tenants' role, its grants and the policies match the migrations."
    assert lines == [["Repaired: policies missing (1): billing_run_tenant", complete], [complete]]
