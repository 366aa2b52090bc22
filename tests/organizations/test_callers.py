"""Credentials kept in the process are as the database has them, whatever happened to them meanwhile."""

from datetime import UTC, datetime

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from organizations.credential_cache import credential_of
from organizations.models import APICredential, Organization, Plan
from tests.conftest import Key


def test_a_credential_comes_with_its_organization_and_plan(key: Key, organization: Organization) -> None:
    for _ in range(2):
        found = credential_of(key.credential.client_id)
        with CaptureQueriesContext(connection) as queries:
            assert found is not None
            assert found == key.credential
            assert found.organization == organization
            assert found.organization is not None
            assert found.organization.plan.code == organization.plan_id
        assert not queries.captured_queries


def test_the_second_time_takes_one_small_query(key: Key) -> None:
    credential_of(key.credential.client_id)

    with CaptureQueriesContext(connection) as queries:
        credential_of(key.credential.client_id)

    assert len(queries.captured_queries) == 1


def test_nobody_is_nobody(db: None) -> None:
    assert credential_of("nobody") is None


def test_an_operators_credential_has_no_organization(operator_key: Key) -> None:
    for _ in range(2):
        found = credential_of(operator_key.credential.client_id)
        assert found is not None
        assert found.organization is None


def test_each_change_is_seen_at_once_also_within_one_transaction(key: Key, organization: Organization) -> None:
    client_id = key.credential.client_id

    def now() -> tuple[str, str, bool]:
        found = credential_of(client_id)
        assert found is not None
        assert found.organization is not None
        return found.organization.name, found.organization.plan.name, found.revoked_at is not None

    before = now()
    Organization.objects.filter(pk=organization.pk).update(name="Renamed")
    Plan.objects.filter(pk=organization.plan_id).update(name="Another plan")
    assert now() == ("Renamed", "Another plan", False)
    Organization.objects.filter(pk=organization.pk).update(name=before[0])
    assert now() == (before[0], "Another plan", False)
    APICredential.objects.filter(client_id=client_id).update(revoked_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert now()[2]
    APICredential.objects.filter(client_id=client_id).delete()
    assert credential_of(client_id) is None


def test_a_change_that_is_rolled_back_was_never_there(key: Key) -> None:
    client_id = key.credential.client_id
    with transaction.atomic():
        APICredential.objects.filter(client_id=client_id).update(name="Changed")
        assert _name(client_id) == "Changed"
        transaction.set_rollback(True)

    assert _name(client_id) == key.credential.name


def _name(client_id: str) -> str:
    found = credential_of(client_id)
    assert found is not None
    return found.name


def test_what_a_caller_does_to_its_copy_nobody_else_sees(key: Key) -> None:
    mine = credential_of(key.credential.client_id)
    assert mine is not None
    assert mine.organization is not None
    mine.name = mine.organization.name = "Scribbled"

    found = credential_of(key.credential.client_id)
    assert found is not None
    assert found.organization is not None
    assert "Scribbled" not in (found.name, found.organization.name)
