"""How credentials are presented, and that every bad one gets the same answer."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
import structlog
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from organizations import secrets, services
from organizations.models import APICredential, Organization, User
from organizations.types import Scope
from tests.conftest import Key, make_key

PATH = "/organizations/acme"
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def test_a_key_is_taken_from_each_of_the_headers(key: Key) -> None:
    headers = [
        {"Authorization": f"Bearer {key.api_key}"},
        {"Authorization": f"bearer {key.api_key}"},
        {"x-api-key": key.api_key},
        {"x-alphaneural-api-key": key.api_key},
        {"Authorization": basic(key.credential.client_id, key.client_secret)},
    ]
    statuses = [APIClient(headers=header).get(PATH).status_code for header in headers]
    assert statuses == [200] * len(headers)


def test_a_key_in_the_query_string_is_not_looked_at(key: Key) -> None:
    for name in ("api_key", "x-api-key", "access_token", "token"):
        response = APIClient().get(PATH, {name: key.api_key})
        assert response.status_code == 401


def test_without_a_credential_the_answer_says_how_to_send_one() -> None:
    response = APIClient().get(PATH)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="costtrack"'
    assert response.json()["code"] == "unauthorized_missing_authorization"


def test_every_bad_credential_gets_the_same_answer(organization: Organization, key: Key) -> None:
    revoked = make_key(organization, *Scope)
    services.revoke_credential(organization=organization, credential=revoked.credential, now=NOW, actor="tests")
    expired = make_key(organization, *Scope)
    APICredential.objects.filter(pk=expired.credential.pk).update(expires_at=NOW)
    client_id, secret = key.credential.client_id, key.client_secret
    bad = {
        "unknown": f"Bearer {secrets.new_client_id()}.{secret}",
        "wrong secret": f"Bearer {client_id}.{secrets.new_secret()}",
        "revoked": f"Bearer {revoked.api_key}",
        "expired": f"Bearer {expired.api_key}",
        "no secret": f"Bearer {client_id}",
        "empty secret": f"Bearer {client_id}.",
        "empty": "Bearer",
        "blank": "Bearer ",
        "two dots": f"Bearer {key.api_key}.x",
        "NUL": f"Bearer {client_id}\0.{secret}",
        "not ASCII": f"Bearer {client_id}.{secret}\xe9",
        "long": "Bearer " + "x" * 5000,
        "basic, wrong": basic(client_id, "wrong"),
        "basic, NUL": basic(client_id + "\0", secret),
        "basic, not base64": "Basic §§§",
        "basic, not ASCII": basic(client_id, "é"),
        "basic, empty": "Basic",
    }
    answers = {}
    for name, header in bad.items():
        response = APIClient().get(PATH, HTTP_AUTHORIZATION=header)
        answers[name] = (response.status_code, response.content, response.headers["WWW-Authenticate"])
    body = b'{"error":"The credentials are not valid.","code":"unauthorized"}'
    assert answers == dict.fromkeys(bad, (401, body, 'Bearer realm="costtrack"'))


def test_an_unknown_client_id_costs_as_many_hashes_as_a_known_one(key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []
    digest = secrets._digest

    def counting(secret: str, pepper: bytes) -> str:
        counted.append(secret)
        return digest(secret, pepper)

    monkeypatch.setattr(secrets, "_digest", counting)
    for _ in range(2):
        key.client().get(PATH)  # a credential that has called before
    per_id = []
    for client_id in (key.credential.client_id, secrets.new_client_id()):
        counted.clear()
        with CaptureQueriesContext(connection) as queries:
            APIClient().get(PATH, HTTP_X_API_KEY=f"{client_id}.wrong-secret")
        per_id.append((len(counted), len(queries)))
    assert per_id[0] == per_id[1] == (2, 1)


def test_two_different_credentials_in_one_request_are_refused(key: Key, organization: Organization) -> None:
    second = make_key(organization, *Scope)
    response = APIClient().get(PATH, HTTP_X_API_KEY=key.api_key, HTTP_AUTHORIZATION=f"Bearer {second.api_key}")
    assert response.status_code == 401
    header = basic(second.credential.client_id, second.client_secret)
    response = APIClient().get(PATH, HTTP_X_API_KEY=key.api_key, HTTP_AUTHORIZATION=header)
    assert response.status_code == 401


def test_the_same_credential_twice_in_one_request_is_accepted(key: Key) -> None:
    header = basic(key.credential.client_id, key.client_secret)
    response = APIClient().get(PATH, HTTP_X_API_KEY=key.api_key, HTTP_AUTHORIZATION=header)
    assert response.status_code == 200


def test_a_credential_costs_one_query(key: Key) -> None:
    for _ in range(2):
        key.client().get(PATH)  # notes the use
    with CaptureQueriesContext(connection) as queries:
        key.client().get(PATH)
    touching = [query["sql"] for query in queries if "credential" in query["sql"]]
    assert len(touching) == 1


def test_the_last_use_is_written_once_a_minute(key: Key) -> None:
    def last_use() -> datetime | None:
        return APICredential.objects.get(pk=key.credential.pk).last_used_at

    for offset, expected in ((0, 0), (59, 0), (61, 61), (100, 61)):
        with time_machine.travel(NOW + timedelta(seconds=offset), tick=False):
            key.client().get(PATH)
        assert last_use() == NOW + timedelta(seconds=expected)


def test_a_failed_try_is_not_a_use(key: Key) -> None:
    APIClient().get(PATH, HTTP_X_API_KEY=f"{key.credential.client_id}.wrong")
    assert APICredential.objects.get(pk=key.credential.pk).last_used_at is None


def test_the_previous_secret_is_valid_until_its_grace_ends(organization: Organization, key: Key) -> None:
    issued = services.rotate_credential(
        organization=organization, credential=key.credential, grace=timedelta(hours=1), now=NOW, actor="tests"
    )

    def status(api_key: str, at: datetime) -> int:
        with time_machine.travel(at, tick=False):
            return APIClient().get(PATH, HTTP_X_API_KEY=api_key).status_code

    assert status(issued.api_key, NOW) == 200
    assert status(key.api_key, NOW + timedelta(minutes=59)) == 200
    assert status(key.api_key, NOW + timedelta(hours=1)) == 401
    assert status(issued.api_key, NOW + timedelta(hours=1)) == 200


def test_a_credential_expires_at_its_instant(organization: Organization, key: Key) -> None:
    APICredential.objects.filter(pk=key.credential.pk).update(expires_at=NOW)
    with time_machine.travel(NOW - timedelta(seconds=1), tick=False):
        assert key.client().get(PATH).status_code == 200
    with time_machine.travel(NOW, tick=False):
        assert key.client().get(PATH).status_code == 401


def test_secrets_hashed_with_an_older_pepper_still_work(organization: Organization, settings: Settings) -> None:
    settings.CREDENTIAL_PEPPERS = "1:first-pepper-of-all"
    old = make_key(organization, *Scope)
    settings.CREDENTIAL_PEPPERS = "1:first-pepper-of-all,2:second-pepper-of-all"
    new = make_key(organization, *Scope)
    assert (old.credential.secret_pepper, new.credential.secret_pepper) == (1, 2)
    assert old.client().get(PATH).status_code == 200
    assert new.client().get(PATH).status_code == 200
    settings.CREDENTIAL_PEPPERS = "2:second-pepper-of-all"
    assert old.client().get(PATH).status_code == 401


def test_log_lines_of_the_request_name_the_credential_and_the_organization(key: Key) -> None:
    key.client().get(PATH)
    bound = structlog.contextvars.get_contextvars()
    assert bound["organization"] == "acme"
    assert bound["credential"] == key.credential.client_id
    assert key.client_secret not in str(bound)


def test_a_signed_in_person_may_read_without_a_csrf_token_and_not_write(owner: User) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.get(PATH).status_code == 200
    response = client.patch(PATH, {"name": "Changed"})
    assert response.status_code == 403
    assert response.json()["code"] == "forbidden"


def test_a_person_who_has_been_deactivated_is_out(owner: User) -> None:
    client = APIClient()
    client.force_login(owner)
    User.objects.filter(pk=owner.pk).update(is_active=False)
    assert client.get(PATH).status_code == 401
