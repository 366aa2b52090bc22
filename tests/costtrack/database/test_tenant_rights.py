"""What the tenants' role may do with each table and column: what the migrations declare, and what no tenant needs, not
at all.
"""

import pytest
from django.db import ProgrammingError, connection, transaction
from psycopg import sql

from costtrack.database.declared import declared, rights_of
from costtrack.database.queries import fetch_rows
from costtrack.database.repair import applied_migrations
from costtrack.tenancy import tenant_scope
from organizations.models import Membership, Organization, User
from organizations.types import Role
from tests.conftest import add_member

pytestmark = pytest.mark.django_db

_COLUMNS = """
SELECT relation.relname, column_.attname, relation.relispartition,
    has_column_privilege('costtrack_tenant', relation.oid, attnum, 'SELECT'),
    has_column_privilege('costtrack_tenant', relation.oid, attnum, 'INSERT'),
    has_column_privilege('costtrack_tenant', relation.oid, attnum, 'UPDATE'),
    has_column_privilege('costtrack_tenant', relation.oid, attnum, 'REFERENCES')
FROM pg_class AS relation JOIN pg_attribute AS column_ ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_TABLES = """
SELECT relname, kind.name
FROM pg_class, unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER']) AS kind (name)
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
    AND has_table_privilege('costtrack_tenant', oid, kind.name)
"""
_OTHERS = """
SELECT relname FROM (SELECT * FROM pg_class WHERE relkind = 'S' OFFSET 0) AS sequence
WHERE relnamespace = 'public'::regnamespace
    AND has_sequence_privilege('costtrack_tenant', oid, 'SELECT, USAGE, UPDATE')
UNION ALL
SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'
    AND has_schema_privilege('costtrack_tenant', oid, 'CREATE')
UNION ALL
SELECT defaclobjtype::text FROM pg_default_acl, aclexplode(defaclacl) WHERE grantee = 'costtrack_tenant'::regrole
UNION ALL
SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef
"""
_KEY_COLUMNS = """
SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
    AND NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'organization_id')
"""


def declared_rights() -> dict[str, frozenset[str]]:
    return {item.table: rights_of(item) for item in declared(applied_migrations()) if item.kind == "grant"}


def test_the_role_has_exactly_the_declared_rights_on_every_table_and_column() -> None:
    rights = declared_rights()
    columns = fetch_rows(_COLUMNS)
    assert len(columns) > 1_000
    wrong = []
    for table, column, is_partition, *actual in columns:
        own = frozenset() if is_partition else rights.get(table, frozenset())
        verbs = ("SELECT", "INSERT", "UPDATE", "REFERENCES")
        expected = [verb in own or f"{verb} ({column})" in own for verb in verbs]
        if actual != expected:
            wrong.append((table, column, actual, expected))
    assert wrong == []
    deleting = {table for table, own in rights.items() if "DELETE" in own}
    assert set(fetch_rows(_TABLES)) == {(table, "DELETE") for table in deleting}
    assert fetch_rows(_OTHERS) == []


def test_of_what_belongs_to_no_organization_only_plans_and_names_of_users_are_readable() -> None:
    rights = declared_rights()
    without = {table for (table,) in fetch_rows(_KEY_COLUMNS)}
    assert {"django_session", "django_migrations", "mfa_authenticator", "organizations_securityevent"} <= without
    assert {table: rights[table] for table in without & rights.keys()} == {
        "organizations_plan": {"SELECT"},
        "django_content_type": {"SELECT"},
        "organizations_user": {f"SELECT ({name})" for name in ("id", "email", "name", "is_active")},
        "organizations_organization": rights["organizations_organization"],
    }
    changed = {right for right in rights["organizations_organization"] if right != "SELECT"}
    assert changed
    assert all(right.startswith("UPDATE (") for right in changed)
    assert not changed & {"UPDATE (id)", "UPDATE (created_at)"}


def test_what_happened_is_only_added_to() -> None:
    rights = declared_rights()
    for table in ("billing_usageevent", "organizations_auditentry"):
        assert rights[table] == {"SELECT", "INSERT"}


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT password FROM organizations_user",
        "SELECT * FROM organizations_user",
        "SELECT is_superuser FROM organizations_user",
        "UPDATE organizations_user SET is_superuser = true",
        "DELETE FROM organizations_user",
        "INSERT INTO organizations_user (email) VALUES ('x@x.example')",
        "SELECT 1 FROM django_session",
        "SELECT 1 FROM mfa_authenticator",
        "SELECT 1 FROM organizations_securityevent",
        "SELECT 1 FROM django_admin_log",
        "SELECT 1 FROM account_emailaddress",
        "UPDATE organizations_plan SET exports = true",
        "UPDATE organizations_organization SET id = 7",
        "DELETE FROM organizations_organization",
        "INSERT INTO organizations_organization (slug) VALUES ('x')",
        "UPDATE organizations_auditentry SET actor = 'x'",
        "DELETE FROM billing_usageevent",
        "UPDATE billing_usagehour SET model = 'x'",
        "TRUNCATE billing_run",
        "CREATE TABLE mine (id int)",
        "COPY billing_run TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT nextval('billing_spendlimit_id_seq')",
    ],
)
def test_a_tenant_is_refused(organization: Organization, statement: str) -> None:
    with (
        pytest.raises(ProgrammingError, match=r"permission denied|must be"),
        transaction.atomic(),
        tenant_scope(organization.pk),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql.SQL(statement))


def test_a_tenant_sees_users_of_its_organization_alone(
    organization: Organization, owner: User, stranger: User, operator: User, other_organization: Organization
) -> None:
    both = add_member(organization, "both@globex.example", Role.VIEWER)
    Membership.objects.create(organization=other_organization, user=both)
    with tenant_scope(organization.pk):
        assert set(User.objects.values_list("email", flat=True)) == {owner.email, both.email}
        members = Membership.objects.of(organization).with_user().order_by("pk")
        assert [member.user.email for member in members] == [owner.email, both.email]
    assert {stranger.email, operator.email} <= set(User.objects.values_list("email", flat=True))
