"""With COSTTRACK_DISTRIBUTED, every message has one statement, and everything else is as without it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from billing.models import Authorization, UsageEvent
from billing.rollups.fold import fold
from costtrack.clock import utc_now
from costtrack.tenancy import tenant_reads
from costtrack.timeouts import statement_timeout
from organizations.credential_cache import get_unchecked_credential
from organizations.models import APICredential, Organization
from tests.conftest import Key

pytestmark = pytest.mark.django_db(transaction=True)

EVENT = {"id": "a", "model": "gpt-5"}


@pytest.fixture(params=[False, True], ids=["one message", "separate messages"])
def is_distributed(request: pytest.FixtureRequest, settings: Settings) -> bool:
    settings.DISTRIBUTED = request.param
    return bool(request.param)


@pytest.fixture
def messages() -> Iterator[list[dict[str, Any]]]:
    with CaptureQueriesContext(connection) as queries:
        yield queries.captured_queries


def several(messages: list[dict[str, Any]]) -> list[str]:
    """The messages with SET and another statement."""
    return [text for message in messages if "SET " in (text := message["sql"]) and "; " in text.strip()]


def setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def test_intake_limits_and_reads(api: APIClient, key: Key, organization: Organization, *, is_distributed: bool) -> None:
    for _ in range(2):  # so that the credential is cached
        assert api.get("/organizations/acme").status_code == 200
    with CaptureQueriesContext(connection) as queries, statement_timeout(30):
        assert api.post("/usage/events", EVENT).json()["accepted"] == 1
        granted = api.post("/usage/authorizations", {"estimated_cost_usd": "0.25"})
        assert granted.status_code == 201
        fold(now=utc_now())
        assert len(api.get("/usage/events").json()["results"]) == 1
        assert api.patch(f"/usage/authorizations/{granted.json()['id']}", {"ttl_seconds": 900}).status_code == 200
    assert bool(several(queries.captured_queries)) != is_distributed
    assert (setting("role"), setting("statement_timeout"), setting("lock_timeout")) == ("none", "0", "0")


def test_a_credential_that_has_ended_is_refused(api: APIClient, key: Key, *, is_distributed: bool) -> None:
    for _ in range(2):
        assert api.get("/organizations/acme").status_code == 200
    assert get_unchecked_credential(key.credential.client_id) is not None
    APICredential.objects.filter(pk=key.credential.pk).update(secret_hash="x" * 64)
    for path, body in (("/usage/events", EVENT), ("/usage/authorizations", {"estimated_cost_usd": "0.25"})):
        assert api.post(path, body).status_code == 401
    assert not UsageEvent.objects.exists()
    assert not Authorization.objects.exists()


def test_reads_are_those_of_one_organization(
    organization: Organization, other_organization: Organization, *, is_distributed: bool
) -> None:
    with tenant_reads(organization.pk), statement_timeout(7):
        assert list(Organization.objects.values_list("slug", flat=True)) == ["acme"]
        assert setting("statement_timeout") == "7s"
    assert Organization.objects.count() == 2
    assert setting("statement_timeout") == "0"
