"""Credentials kept in the process are as the database has them, whatever happened to them meanwhile."""

from datetime import UTC, datetime

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from organizations.credential_cache import get_credential
from organizations.models import APICredential, Organization, Plan
from tests.conftest import Key


def test_a_credential_comes_with_its_organization_and_plan(key: Key, organization: Organization) -> None:
    for _ in range(2):
        cached = get_credential(key.credential.client_id)
        with CaptureQueriesContext(connection) as queries:
            assert cached is not None
            assert cached == key.credential
            assert cached.organization == organization
            assert cached.organization is not None
            assert cached.organization.plan.code == organization.plan_id
        assert not queries.captured_queries


def test_the_second_time_takes_one_small_query(key: Key) -> None:
    get_credential(key.credential.client_id)

    with CaptureQueriesContext(connection) as queries:
        get_credential(key.credential.client_id)

    assert len(queries.captured_queries) == 1


def test_an_unknown_client_id_has_no_credential(db: None) -> None:
    assert get_credential("nobody") is None


def test_an_operators_credential_has_no_organization(operator_key: Key) -> None:
    for _ in range(2):
        cached = get_credential(operator_key.credential.client_id)
        assert cached is not None
        assert cached.organization is None


def test_each_change_is_seen_at_once_also_within_one_transaction(key: Key, organization: Organization) -> None:
    client_id = key.credential.client_id

    def now() -> tuple[str, str, bool]:
        cached = get_credential(client_id)
        assert cached is not None
        assert cached.organization is not None
        return cached.organization.name, cached.organization.plan.name, cached.revoked_at is not None

    before = now()
    Organization.objects.filter(pk=organization.pk).update(name="Renamed")
    Plan.objects.filter(pk=organization.plan_id).update(name="Another plan")
    assert now() == ("Renamed", "Another plan", False)
    Organization.objects.filter(pk=organization.pk).update(name=before[0])
    assert now() == (before[0], "Another plan", False)
    APICredential.objects.filter(client_id=client_id).update(revoked_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert now()[2]
    APICredential.objects.filter(client_id=client_id).delete()
    assert get_credential(client_id) is None


def test_a_change_that_is_rolled_back_was_never_there(key: Key) -> None:
    client_id = key.credential.client_id
    with transaction.atomic():
        APICredential.objects.filter(client_id=client_id).update(name="Changed")
        assert _name(client_id) == "Changed"
        transaction.set_rollback(True)

    assert _name(client_id) == key.credential.name


def _name(client_id: str) -> str:
    cached = get_credential(client_id)
    assert cached is not None
    return cached.name


def test_changes_of_a_cached_copy_are_not_shared(key: Key) -> None:
    mine = get_credential(key.credential.client_id)
    assert mine is not None
    assert mine.organization is not None
    mine.name = mine.organization.name = "Scribbled"

    cached = get_credential(key.credential.client_id)
    assert cached is not None
    assert cached.organization is not None
    assert "Scribbled" not in (cached.name, cached.organization.name)
