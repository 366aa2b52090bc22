"""The data of an organization is deleted when its grace period is over: every row, of this organization only."""

from datetime import timedelta

import pytest
from django.core import mail
from django.db import DatabaseError, connection, transaction
from django.test import Client
from psycopg import sql
from rest_framework.test import APIClient

from billing import deletion
from billing.deletion import delete_closed_organizations, delete_next_step, tables_in_order
from billing.models import UsageEvent
from billing.rollups.fold import fold
from billing.tasks import delete_organizations_task, verify_rollups_task
from costtrack.clock import utc_now
from costtrack.database.queries import fetch_rows
from organizations.accounts.delivery import deliver_account_emails
from organizations.models import AuditEntry, Closing, Membership, Organization, User
from organizations.services import create_team
from organizations.types import Role
from tests.browser.some_usage import record_some
from tests.conftest import Key, add_member
from tests.usage import Send

pytestmark = pytest.mark.django_db

_WITH_ORGANIZATION = """
SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'organization_id'
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""
_COUNT = sql.SQL("SELECT count(*) FROM {} WHERE organization_id = {}")


def rows_of(organization_id: int) -> dict[str, int]:
    """Return the number of rows of an organization in each table that has some."""
    counts = {}
    with connection.cursor() as cursor:
        for (table,) in fetch_rows(_WITH_ORGANIZATION):
            cursor.execute(_COUNT.format(sql.Identifier(table), organization_id))
            (counts[table],) = cursor.fetchone()
    return {table: count for table, count in counts.items() if count}


def end_grace_period(organization: Organization, closed_by: str = "owner@acme.example") -> None:
    now = utc_now()
    Organization.objects.filter(pk=organization.pk).update(closes_at=now)
    Closing.objects.create(organization=organization, closed_at=now - timedelta(days=30), closed_by=closed_by)


def delete_all() -> None:
    assert not delete_closed_organizations(now=utc_now(), seconds=60)


def test_no_row_of_any_table_remains_and_another_organization_is_untouched(
    organization: Organization,
    owner: User,
    key: Key,
    other_organization: Organization,
    stranger: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_some(organization, other_organization)
    fold(now=utc_now())
    create_team(organization=organization, name="core", members=[owner.email], actor="tests")
    both, other_id = add_member(organization, "both@acme.example", Role.VIEWER), other_organization.pk
    Membership.objects.create(organization=other_organization, user=both, role=Role.VIEWER)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE a_new_table (organization_id bigint, text text)")
        cursor.execute("INSERT INTO a_new_table VALUES (%s, 'x'), (%s, 'y')", [organization.pk, other_id])
    before, others = rows_of(organization.pk), rows_of(other_id)
    assert len(before) > 35
    end_grace_period(organization)
    monkeypatch.setattr(deletion, "MAX_ROWS", 100)
    delete_all()

    assert rows_of(organization.pk) == {}
    assert rows_of(other_id) == others
    assert not Organization.objects.filter(slug="acme").exists()
    assert set(User.objects.filter(email__endswith="@acme.example")) == {both}
    entry = AuditEntry.objects.get(action="organization.deleted")
    assert (entry.organization, entry.actor, entry.subject) == (None, "owner@acme.example", "acme")
    partitions = {table for table in before if table.startswith("billing_usageevent_")}
    left_to_the_end = {"organizations_membership": before["organizations_membership"], "organizations_closing": 1}
    counted = {table: count for table, count in before.items() if table not in partitions | left_to_the_end.keys()}
    assert entry.details["rows"] == counted
    assert entry.details["members"] == before["organizations_membership"]
    assert entry.details["cost_usd"] == "0.50384"
    mail.outbox.clear()
    deliver_account_emails(now=utc_now())
    assert [message.to for message in mail.outbox] == [["owner@acme.example"]]
    assert "“Acme Research” and all of its data were deleted" in str(mail.outbox[0].body)


def test_it_continues_after_a_worker_has_died(
    organization: Organization, owner: User, key: Key, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(*({"id": f"e-{number}", "kind": "compute", "cost_usd": "0.5"} for number in range(5)), now=utc_now())
    end_grace_period(organization)
    monkeypatch.setattr(deletion, "MAX_ROWS", 2)
    delete_rows, steps = deletion._delete_rows, []

    def die_sometimes(cursor: object, table: str, organization_id: int) -> int:
        deleted = delete_rows(cursor, table, organization_id)
        steps.append(table)
        if deleted and len(steps) % 4 == 0:
            raise DatabaseError("the worker died")
        return deleted

    monkeypatch.setattr(deletion, "_delete_rows", die_sometimes)
    for _ in range(60):
        if not Organization.objects.filter(pk=organization.pk).exists():
            break
        delete_closed_organizations(now=utc_now(), seconds=60)
    assert rows_of(organization.pk) == {}
    details = AuditEntry.objects.get(action="organization.deleted").details
    assert (details["rows"]["billing_usageevent"], details["cost_usd"]) == (5, "2.5")


def test_nothing_is_deleted_before_the_grace_period_is_over(
    organization: Organization, owner: User, send: Send
) -> None:
    send({"kind": "compute", "cost_usd": "0.5"}, now=utc_now())
    organization.closes_at = utc_now() + timedelta(minutes=1)
    organization.save()
    before = rows_of(organization.pk)
    delete_organizations_task()
    assert rows_of(organization.pk) == before
    AuditEntry.objects.create(organization=organization, actor="x", action="x", subject="x")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.filter(organization=organization).delete()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        UsageEvent.objects.filter(organization=organization).delete()


def test_tasks_skip_what_is_being_deleted(organization: Organization, key: Key, send: Send) -> None:
    send({"kind": "compute", "cost_usd": "0.5"}, now=utc_now())
    end_grace_period(organization)
    assert delete_next_step(organization_id=organization.pk, now=utc_now())
    verify_rollups_task()
    fold(now=utc_now())
    delete_all()
    assert rows_of(organization.pk) == {}


def test_accounts_without_another_organization_are_deleted_and_the_slug_is_free_again(
    organization: Organization, owner: User, operator: User, key: Key, operator_api: APIClient
) -> None:
    Membership.objects.create(organization=organization, user=operator, role=Role.OWNER)
    client = Client()
    client.force_login(owner)
    end_grace_period(organization)
    delete_all()
    assert set(User.objects.all()) == {operator}
    assert client.get("/admin/")["Location"].startswith("/admin/login")
    assert client.post("/account/password/reset", {"email": owner.email}).status_code == 302
    mail.outbox.clear()
    deliver_account_emails(now=utc_now())
    assert [str(message.subject) for message in mail.outbox] == ["Your organization on costtrack was deleted"] * 2
    refused = key.client().post("/usage/events", {"kind": "compute", "cost_usd": "1"})
    assert refused.status_code == 401
    assert operator_api.post("/organizations", {"name": "Acme", "slug": "acme"}).status_code == 201


def test_tables_come_before_those_that_they_refer_to() -> None:
    order = tables_in_order()
    assert order[:2] == ["billing_ingestbatch", "billing_usageevent"]
    assert order.index("billing_delivery") < order.index("billing_notice")
    assert order.index("billing_quarantinedrecord") < order.index("organizations_apicredential")
    assert len(order) == len(set(order))
