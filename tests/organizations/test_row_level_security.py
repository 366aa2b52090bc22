"""The database's own guard (`costtrack.tenancy`): a query that forgets its filter still sees one organization."""

import pytest
from django.apps import apps
from django.db import ProgrammingError, connection, transaction
from django.test.utils import CaptureQueriesContext
from psycopg import sql

from costtrack.tenancy import owner_scope, tenant_reads, tenant_scope
from organizations.models import APICredential, AuditEntry, Membership, Organization, User
from tests.conftest import Key

ORGANIZATIONS = Organization._meta.db_table


def test_inside_a_scope_other_organizations_rows_are_invisible(
    organization: Organization, key: Key, other_key: Key, operator_key: Key, owner: User, stranger: User
) -> None:
    for model in (APICredential, AuditEntry, Membership):
        assert set(model._default_manager.values_list("organization__slug", flat=True)) >= {"acme", "globex"}
        with tenant_scope(organization.pk):
            assert set(model._default_manager.values_list("organization_id", flat=True)) == {organization.pk}
    with tenant_scope(organization.pk):
        assert [row.slug for row in Organization.objects.all()] == ["acme"]
    assert Organization.objects.count() == 2


def test_inside_a_scope_nothing_is_written_for_another_organization(
    organization: Organization, other_organization: Organization
) -> None:
    for foreign in (other_organization.pk, None):
        with pytest.raises(ProgrammingError, match="row-level security"), tenant_scope(organization.pk):
            AuditEntry.objects.create(organization_id=foreign, actor="x", action="x", subject="x")
    with tenant_scope(organization.pk):
        AuditEntry.objects.create(organization=organization, actor="x", action="x", subject="x")


def test_inside_a_scope_another_organizations_rows_can_be_neither_changed_nor_taken(
    organization: Organization, other_key: Key
) -> None:
    with tenant_scope(organization.pk):
        assert APICredential.objects.update(organization=organization) == 0
    other_key.credential.refresh_from_db()
    assert other_key.credential.organization_id != organization.pk


def test_a_scope_of_no_organization_sees_nothing(key: Key) -> None:
    with tenant_scope():
        assert not Organization.objects.exists()
        assert not APICredential.objects.exists()


def test_an_inner_scope_replaces_the_outer_one_until_it_ends(
    organization: Organization, other_organization: Organization
) -> None:
    with tenant_scope(organization.pk):
        with tenant_scope(other_organization.pk):
            assert visible() == ["globex"]
        assert visible() == ["acme"]
        with pytest.raises(ZeroDivisionError), tenant_scope(other_organization.pk):
            raise ZeroDivisionError
        assert visible() == ["acme"]
        with tenant_scope(other_organization.pk), transaction.atomic():
            transaction.set_rollback(True)
        assert visible() == ["acme"]
    assert visible() == ["acme", "globex"]


def visible() -> list[str]:
    return list(Organization.objects.order_by("slug").values_list("slug", flat=True))


@pytest.mark.django_db(transaction=True)
def test_reads_see_one_organization_without_a_transaction(
    organization: Organization, other_organization: Organization, key: Key, other_key: Key
) -> None:
    with CaptureQueriesContext(connection) as queries, tenant_reads(organization.pk):
        assert visible() == ["acme"]
    assert len(queries) == 1
    with tenant_reads(organization.pk):
        assert [row.organization for row in APICredential.objects.select_related("organization")] == [organization]
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT slug, current_user::text FROM {}").format(sql.Identifier(ORGANIZATIONS)))
            assert cursor.fetchall() == [("acme", "costtrack_tenant")]
        with pytest.raises(RuntimeError), connection.cursor() as cursor:
            cursor.executemany("SELECT %s", [[1], [2]])
        with pytest.raises(ProgrammingError), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / nothing")
        assert visible() == ["acme"]
    assert visible() == ["acme", "globex"]


@pytest.mark.django_db(transaction=True)
def test_transactions_and_other_scopes_inside_reads_are_what_they_are_elsewhere(
    organization: Organization, other_organization: Organization
) -> None:
    with tenant_reads(organization.pk):
        with transaction.atomic():
            assert visible() == ["acme"]
        with tenant_scope(other_organization.pk):
            assert visible() == ["globex"]
        with owner_scope():
            assert visible() == ["acme", "globex"]
        with tenant_reads(other_organization.pk):
            assert visible() == ["globex"]
        assert visible() == ["acme"]
    with transaction.atomic():
        with tenant_reads(organization.pk):
            assert visible() == ["acme"]
        assert visible() == ["acme", "globex"]


@pytest.mark.django_db
def test_the_audit_log_can_only_be_added_to(organization: Organization) -> None:
    entry = AuditEntry.objects.create(organization=organization, actor="x", action="x", subject="x")
    for change in (entry.delete, lambda: AuditEntry.objects.update(actor="y")):
        with pytest.raises(ProgrammingError, match="append-only"), transaction.atomic():
            change()


@pytest.mark.django_db
def test_every_table_with_an_organization_has_row_level_security() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT c.relname, c.relrowsecurity, count(DISTINCT p.polname)
            FROM pg_attribute a
            JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
            JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
            LEFT JOIN pg_policy p ON p.polrelid = c.oid
            WHERE (a.attname = 'organization_id' OR c.relname = 'organizations_organization') AND NOT c.relispartition
            GROUP BY 1, 2
            """
        )
        tables = {name: (is_enabled, policies) for name, is_enabled, policies in cursor.fetchall()}
    assert len(tables) > 4
    assert tables == dict.fromkeys(tables, (True, 1))


@pytest.mark.django_db
def test_inside_a_scope_a_partition_is_reached_through_its_table_alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, has_table_privilege('costtrack_tenant', oid, 'SELECT, INSERT, UPDATE, DELETE')"
            " FROM pg_class WHERE relispartition AND relkind IN ('r', 'p')"
        )
        partitions = dict(cursor.fetchall())
    assert partitions
    assert partitions == dict.fromkeys(partitions, False)


def test_every_own_model_belongs_to_an_organization_or_is_listed_as_exempt() -> None:
    without = {
        model.__name__
        for label in ("organizations", "billing")
        for model in apps.get_app_config(label).get_models()
        if not any(field.name == "organization" for field in model._meta.get_fields())
    }
    assert without == {"User", "Plan", "Organization", "SecurityEvent"}
