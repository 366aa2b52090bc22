"""A request that writes with one statement checks its cached credential in the same message, and a change of the
credential counts from the next request on."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from billing.api import intake
from billing.api.usage import authorizations
from billing.models import Authorization, UsageEvent
from costtrack.clock import utc_now
from organizations.api.base import OrganizationScopedAPIView
from organizations.credential_cache import get_unchecked_credential
from organizations.credential_check import CredentialChangedError
from organizations.models import APICredential, Organization, Plan
from organizations.services.credentials import rotate_credential
from tests.conftest import Key

EVENTS, AUTHORIZATIONS = "/usage/events", "/usage/authorizations"
BODIES: dict[str, Any] = {EVENTS: {"id": "e"}, AUTHORIZATIONS: {"estimated_cost_usd": "0.01"}}
DONE = {EVENTS: 200, AUTHORIZATIONS: 201}
PATHS = pytest.mark.parametrize("path", list(BODIES))


@pytest.fixture
def warm(key: Key, api: APIClient) -> APIClient:
    """A client whose credential, with a use that was just recorded, is cached."""
    for _ in range(2):
        assert api.get("/organizations/acme").status_code == 200
    assert get_unchecked_credential(key.credential.client_id) is not None
    return api


def row(key: Key) -> Any:
    return APICredential.objects.filter(pk=key.credential.pk)


def nothing_is_written() -> bool:
    return not UsageEvent.objects.exists() and not Authorization.objects.exists()


@PATHS
def test_the_check_is_sent_with_the_statement_that_writes(warm: APIClient, path: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert warm.post(path, BODIES[path]).status_code == DONE[path]

    statements = [query["sql"] for query in queries.captured_queries if "organizations_check" in query["sql"]]
    assert len(statements) == 1
    assert statements[0].startswith("SELECT organizations_check_credential(")
    assert "billing_reserve(" in statements[0] or "billing_append_batches(" in statements[0]
    assert not any("organizations_credential_version" in query["sql"] for query in queries.captured_queries)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "revoked": lambda own: own.update(revoked_at=datetime(2026, 1, 1, tzinfo=UTC)),
    "expired": lambda own: own.update(expires_at=datetime(2026, 1, 1, tzinfo=UTC)),
    "deleted": lambda own: own.delete(),
    "with another secret": lambda own: own.update(secret_hash="x" * 64),
}


@PATHS
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
@pytest.mark.parametrize("is_readable", [True, False], ids=["valid", "invalid"])
def test_a_credential_that_has_ended_meanwhile_is_refused_and_nothing_is_written(
    warm: APIClient, key: Key, path: str, change: Callable[[Any], Any], *, is_readable: bool
) -> None:
    change(row(key))

    refused = warm.post(path, BODIES[path] if is_readable else {"unknown": 1})

    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    assert nothing_is_written()


@PATHS
def test_it_is_refused_also_if_it_ends_after_the_request_has_begun(
    warm: APIClient, key: Key, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = intake if path == EVENTS else authorizations
    read_body = module.read_body

    def revoke_and_read(*arguments: Any, **options: Any) -> bytes:
        row(key).update(revoked_at=datetime(2026, 1, 1, tzinfo=UTC))
        body: bytes = read_body(*arguments, **options)
        return body

    monkeypatch.setattr(module, "read_body", revoke_and_read)

    assert warm.post(path, BODIES[path]).status_code == 401
    assert nothing_is_written()


def test_a_summary_is_checked_before_it_is_written(warm: APIClient, key: Key) -> None:
    summary = {"kind": "session_summary", "session_id": "s", "cost_usd": "1"}
    row(key).update(revoked_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert warm.post(EVENTS, [summary, {"id": "e"}]).status_code == 401
    assert nothing_is_written()

    row(key).update(revoked_at=None)
    assert warm.post(EVENTS, [summary, {"id": "e"}]).status_code == 200


@PATHS
def test_after_a_rotation_the_new_secret_works_and_the_old_one_does_not(
    warm: APIClient, key: Key, organization: Organization, path: str
) -> None:
    rotated = rotate_credential(
        organization=organization,
        credential=key.credential,
        now=utc_now(),
        actor="tests",
        grace=timedelta(),
    )
    new = APIClient(HTTP_AUTHORIZATION=f"Bearer {rotated.api_key}")

    assert new.post(path, BODIES[path]).status_code == DONE[path]
    assert warm.post(path, BODIES[path]).status_code == 401


@PATHS
def test_scopes_count_at_once(warm: APIClient, key: Key, path: str) -> None:
    scopes = list(key.credential.scopes)
    row(key).update(scopes=[])
    assert warm.post(path, BODIES[path]).json()["code"] == "missing_scope"
    assert nothing_is_written()

    row(key).update(scopes=scopes)
    assert warm.post(path, BODIES[path]).status_code == DONE[path]


def test_the_plan_counts_at_once(warm: APIClient, organization: Organization) -> None:
    Plan.objects.filter(pk=organization.plan_id).update(requests_per_minute=1)
    assert warm.post(AUTHORIZATIONS, BODIES[AUTHORIZATIONS]).headers["RateLimit-Limit"] == "1"

    Plan.objects.filter(pk=organization.plan_id).update(requests_per_minute=None)
    allowed = warm.post(AUTHORIZATIONS, BODIES[AUTHORIZATIONS])
    assert allowed.status_code == 201, "the refusal by the plan that was cached does not count"
    assert "RateLimit-Limit" not in allowed.headers


def test_an_error_of_the_statement_is_no_change_of_the_credential(warm: APIClient, key: Key) -> None:
    assert warm.post(EVENTS, {"id": "e", "input_tokens": 1}).status_code == 200
    conflict = warm.post(EVENTS, {"id": "e", "input_tokens": 2})
    assert (conflict.status_code, conflict.json()["conflicts"]) == (422, 1)
    refused = warm.post(EVENTS, b"{", content_type="application/json")
    assert refused.json()["code"] == "malformed"


def test_a_check_is_made_once(warm: APIClient, key: Key) -> None:
    credential = get_unchecked_credential(key.credential.client_id)
    assert credential is not None
    assert credential.pending_check is not None
    for expected in (1, 0):
        with CaptureQueriesContext(connection) as queries:
            credential.pending_check.make()
        assert len(queries.captured_queries) == expected

    row(key).update(name="Changed")
    outdated = get_unchecked_credential(key.credential.client_id)
    assert outdated is not None
    assert outdated.pending_check is not None
    with pytest.raises(CredentialChangedError):
        outdated.pending_check.make()


def test_only_views_with_own_transactions_check_late() -> None:
    with pytest.raises(TypeError, match="own_transactions"):
        type("Late", (OrganizationScopedAPIView,), {"methods_with_late_check": frozenset({"post"})})
