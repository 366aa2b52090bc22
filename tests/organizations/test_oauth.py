"""`POST /oauth2/token` and the tokens it gives."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from organizations import services, tokens
from organizations.models import APICredential, Organization
from organizations.types import Scope
from tests.conftest import Key, make_key

PATH = "/oauth2/token"
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def ask(form: dict[str, Any] | str, **headers: str) -> Any:
    if isinstance(form, dict):
        form = "&".join(f"{name}={value}" for name, value in form.items())
    return APIClient(headers=headers).post(PATH, form, content_type="application/x-www-form-urlencoded")


def form_of(key: Key, **more: str) -> dict[str, str]:
    client = {"client_id": key.credential.client_id, "client_secret": key.client_secret}
    return {"grant_type": "client_credentials", **client, **more}


def basic(key: Key) -> str:
    return "Basic " + base64.b64encode(key.api_key.replace(".", ":").encode()).decode()


def test_a_token_is_given_for_the_credential_in_the_body(key: Key) -> None:
    with time_machine.travel(NOW, tick=False):
        response = ask(form_of(key))
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    body = response.json()
    assert {name: body[name] for name in ("token_type", "expires_in", "scope")} == {
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "usage:write costs:read limits:authorize manage",
    }
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert len(claims.pop("secret_id")) == 32
    assert claims == {
        "sub": key.credential.client_id,
        "client_id": key.credential.client_id,
        "scope": body["scope"],
        "token_use": "access",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 3600,
    }


def test_a_token_is_given_for_the_credential_in_the_header(key: Key) -> None:
    response = ask({"grant_type": "client_credentials", "scope": "api/access"}, Authorization=basic(key))
    assert response.status_code == 200
    assert response.json()["scope"].split() == list(Scope)


def test_a_token_has_only_the_requested_scopes(key: Key) -> None:
    response = ask(form_of(key, scope="costs:read"))
    assert response.json()["scope"] == "costs:read"
    client = APIClient(headers={"Authorization": f"Bearer {response.json()['access_token']}"})
    assert client.get("/organizations/acme").status_code == 200
    assert client.get("/organizations/acme/audit").status_code == 403


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"scope": "everything"}, 400, "invalid_scope"),
        ({"scope": "+"}, 400, "invalid_scope"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_secret": ""}, 401, "invalid_client"),
        ({"client_id": "ct_unknown"}, 401, "invalid_client"),
        ({"client_id": "%00"}, 401, "invalid_client"),
        ({"client_id": "%ff"}, 401, "invalid_client"),
    ],
)
def test_errors_are_those_of_the_rfc(key: Key, change: dict[str, str], status: int, error: str) -> None:
    response = ask(form_of(key, **change))
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert set(response.json()) == {"error", "error_description"}
    assert ("WWW-Authenticate" in response.headers) == (status == 401)


def test_a_scope_that_the_credential_lacks_is_refused(organization: Organization) -> None:
    key = make_key(organization, Scope.COSTS_READ)
    assert ask(form_of(key, scope="costs:read manage")).json()["error"] == "invalid_scope"


def test_a_parameter_may_not_come_twice(key: Key) -> None:
    response = ask("grant_type=client_credentials&grant_type=client_credentials", Authorization=basic(key))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_the_secret_may_not_come_in_two_ways(key: Key) -> None:
    assert ask(form_of(key), Authorization=basic(key)).json()["error"] == "invalid_request"


def test_a_body_that_is_no_form_is_an_invalid_request(key: Key) -> None:
    response = APIClient().post(PATH, form_of(key))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert APIClient().post(PATH).json()["error"] == "invalid_request"


def test_only_post_is_allowed() -> None:
    response = APIClient().get(PATH)
    assert (response.status_code, response.json()["error"]) == (405, "invalid_request")


def test_a_large_form_is_refused() -> None:
    assert ask("grant_type=" + "x" * 1_100_000).status_code == 413


def token_of(key: Key, *, at: datetime = NOW) -> str:
    with time_machine.travel(at, tick=False):
        return str(ask(form_of(key)).json()["access_token"])


def status_with(token: str, *, at: datetime = NOW) -> int:
    with time_machine.travel(at, tick=False):
        return APIClient(headers={"Authorization": f"Bearer {token}"}).get("/organizations/acme").status_code


def test_a_token_ends_after_an_hour(key: Key) -> None:
    token = token_of(key)
    assert status_with(token, at=NOW + timedelta(minutes=59)) == 200
    assert status_with(token, at=NOW + timedelta(hours=1)) == 401


def test_a_token_ends_with_its_credential(key: Key, organization: Organization) -> None:
    token = token_of(key)
    assert status_with(token) == 200
    services.revoke_credential(organization=organization, credential=key.credential, now=NOW, actor="tests")
    assert status_with(token) == 401


def test_a_token_ends_when_its_credential_expires(key: Key) -> None:
    token = token_of(key)
    APICredential.objects.filter(pk=key.credential.pk).update(expires_at=NOW)
    assert status_with(token) == 401


def rotate(key: Key, grace: timedelta, *, at: datetime = NOW) -> Key:
    issued = services.rotate_credential(
        organization=key.credential.organization, credential=key.credential, grace=grace, now=at, actor="tests"
    )
    return Key(issued.credential, issued.client_secret, issued.api_key)


def test_a_rotation_without_grace_ends_the_tokens_of_the_old_secret_at_once(key: Key) -> None:
    old = token_of(key)
    assert status_with(old) == 200
    rotated = rotate(key, timedelta(0))
    assert status_with(old) == 401
    assert status_with(token_of(rotated)) == 200


def test_tokens_of_the_old_secret_end_with_its_grace(key: Key) -> None:
    before = token_of(key)
    rotated = rotate(key, timedelta(minutes=10))
    during = token_of(key, at=NOW + timedelta(minutes=1))
    new = token_of(rotated)
    for minutes, status in ((9, 200), (10, 401), (59, 401)):
        at = NOW + timedelta(minutes=minutes)
        assert [status_with(token, at=at) for token in (before, during, new)] == [status, status, 200]


def test_a_token_of_the_old_secret_says_when_it_ends(key: Key) -> None:
    rotated = rotate(key, timedelta(minutes=10))
    with time_machine.travel(NOW, tick=False):
        assert ask(form_of(key)).json()["expires_in"] == 600
        assert ask(form_of(rotated)).json()["expires_in"] == 3600
    rotate(rotated, timedelta(days=30))
    with time_machine.travel(NOW, tick=False):
        assert ask(form_of(rotated)).json()["expires_in"] == 3600


def test_a_second_rotation_ends_the_tokens_of_the_first_secret(key: Key) -> None:
    first = token_of(key)
    second = rotate(key, timedelta(days=1))
    assert status_with(first) == 200
    rotate(second, timedelta(days=1))
    assert status_with(first) == 401
    assert status_with(token_of(second)) == 200


def test_a_token_ends_no_later_than_its_credential(key: Key) -> None:
    APICredential.objects.filter(pk=key.credential.pk).update(expires_at=NOW + timedelta(minutes=5))
    with time_machine.travel(NOW, tick=False):
        assert ask(form_of(key)).json()["expires_in"] == 300


def test_a_token_that_names_no_secret_is_refused(key: Key) -> None:
    """Releases before issued such tokens; they lived for an hour."""
    claims = jwt.decode(token_of(key), options={"verify_signature": False})
    assert status_with(jwt.encode(claims, tokens._keys()[0], algorithm="HS256")) == 200
    del claims["secret_id"]
    assert status_with(jwt.encode(claims, tokens._keys()[0], algorithm="HS256")) == 401


def test_a_token_does_not_show_its_secret_or_the_secrets_hash(key: Key) -> None:
    claims = str(jwt.decode(token_of(key), options={"verify_signature": False}))
    assert key.client_secret not in claims
    assert key.credential.secret_hash[:16] not in claims


def test_a_token_needs_no_more_statements_than_a_key(key: Key) -> None:
    def statements(bearer: str) -> int:
        client = APIClient(headers={"Authorization": f"Bearer {bearer}"})
        for _ in range(2):
            client.get("/organizations/acme")  # notes the use
        with CaptureQueriesContext(connection) as queries:
            client.get("/organizations/acme")
        return len(queries)

    assert statements(token_of(key, at=datetime.now(tz=UTC))) == statements(key.api_key)


def test_a_scope_taken_from_the_credential_is_gone_from_its_tokens(key: Key) -> None:
    token = token_of(key)
    APICredential.objects.filter(pk=key.credential.pk).update(scopes=[Scope.USAGE_WRITE])
    assert status_with(token) == 403


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_a_token_with_another_signature_is_refused(key: Key, algorithm: str) -> None:
    claims = jwt.decode(token_of(key), options={"verify_signature": False})
    forged = jwt.encode(claims, "" if algorithm == "none" else "k" * 32, algorithm=algorithm)
    assert status_with(forged) == 401


def test_a_token_made_for_something_else_is_refused(key: Key) -> None:
    claims = jwt.decode(token_of(key), options={"verify_signature": False})
    other = jwt.encode({**claims, "token_use": "id"}, tokens._keys()[0], algorithm="HS256")
    assert status_with(other) == 401


def test_a_token_works_in_the_key_headers_too(key: Key) -> None:
    with time_machine.travel(NOW, tick=False):
        response = APIClient(headers={"x-api-key": token_of(key)}).get("/organizations/acme")
    assert response.status_code == 200


def test_tokens_are_not_signed_with_the_secret_key_itself(key: Key) -> None:
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token_of(key, at=datetime.now(tz=UTC)), settings.SECRET_KEY, algorithms=["HS256"])
