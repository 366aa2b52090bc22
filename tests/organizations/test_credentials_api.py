"""`/organizations/{slug}/credentials`."""

import re
from typing import Any

import pytest
from rest_framework.test import APIClient

from organizations.models import APICredential, AuditEntry, Organization, User
from organizations.types import Scope
from tests.conftest import Key, make_key

PATH = "/organizations/acme/credentials"


def test_a_new_credential_shows_its_secret_once(api: APIClient) -> None:
    response = api.post(PATH, {"name": "ci"})
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    body = response.json()
    assert body["api_key"] == f"{body['client_id']}.{body['client_secret']}"
    assert re.fullmatch(r"ct_[0-9a-f]{20}", body["client_id"])
    assert (body["environment"], body["scopes"]) == ("production", ["usage:write", "costs:read"])
    for path in (PATH, f"{PATH}/{body['client_id']}"):
        assert body["client_secret"] not in api.get(path).content.decode()
    assert APIClient(headers={"x-api-key": body["api_key"]}).get("/organizations/acme").status_code == 200


def test_the_secret_is_not_in_the_database(api: APIClient) -> None:
    body = api.post(PATH, {"name": "ci"}).json()
    row = APICredential.objects.filter(client_id=body["client_id"]).values().get()
    assert body["client_secret"] not in str(row)
    entry = AuditEntry.objects.filter(subject=body["client_id"]).values().get()
    assert body["client_secret"] not in str(entry)


def test_the_given_values_are_stored(api: APIClient) -> None:
    given = {
        "name": "batch",
        "environment": "staging",
        "scopes": ["limits:authorize", "usage:write", "usage:write"],
        "expires_at": "2099-01-01T00:00:00+02:00",
    }
    body = api.post(PATH, given).json()
    assert body["scopes"] == ["usage:write", "limits:authorize"]
    assert body["environment"] == "staging"
    assert body["expires_at"] == "2098-12-31T22:00:00Z"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"environment": "test"}, "environment"),
        ({"scopes": []}, "scopes"),
        ({"scopes": "usage:write"}, "scopes"),
        ({"scopes": ["everything"]}, "scopes.0"),
        ({"scopes": [["usage:write"]]}, "scopes.0"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+23:00"}, "expires_at"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"client_id": "mine"}, "client_id"),
    ],
)
def test_a_wrong_value_is_a_422_that_names_its_field(api: APIClient, change: dict[str, Any], field: str) -> None:
    response = api.post(PATH, {"name": "ci", **change})
    assert (response.status_code, list(response.json()["fields"])) == (422, [field])


def test_a_credential_cannot_hand_on_a_scope_that_it_lacks(organization: Organization) -> None:
    client = make_key(organization, Scope.MANAGE, Scope.COSTS_READ).client()
    response = client.post(PATH, {"name": "ci", "scopes": ["costs:read", "usage:write"]})
    assert (response.status_code, response.json()["code"]) == (403, "scope_not_held")
    assert "usage:write" in response.json()["error"]
    assert client.post(PATH, {"name": "ci", "scopes": ["costs:read"]}).status_code == 201


def test_the_list_is_the_newest_first_and_filtered(api: APIClient, key: Key) -> None:
    staging = api.post(PATH, {"name": "a", "environment": "staging"}).json()["client_id"]
    api.post(f"{PATH}/{staging}/revoke")
    own = key.credential.client_id

    def ids(**query: str) -> list[str]:
        return [row["client_id"] for row in api.get(PATH, query).json()["results"]]

    assert ids() == [staging, own]
    assert ids(environment="staging") == [staging]
    assert ids(revoked="true") == [staging]
    assert ids(revoked="false") == [own]


def test_rotating_gives_a_new_secret_and_says_until_when_the_old_one_holds(api: APIClient, key: Key) -> None:
    response = api.post(f"{PATH}/{key.credential.client_id}/rotate", {"grace_seconds": 3600})
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    body = response.json()
    assert body["client_id"] == key.credential.client_id
    assert body["client_secret"] != key.client_secret
    assert body["previous_valid_until"] is not None
    for api_key in (body["api_key"], key.api_key):
        assert APIClient(headers={"x-api-key": api_key}).get("/organizations/acme").status_code == 200


def test_rotating_without_grace_ends_the_old_secret_at_once(api: APIClient, key: Key) -> None:
    body = api.post(f"{PATH}/{key.credential.client_id}/rotate", {"grace_seconds": 0}).json()
    assert body["previous_valid_until"] is None
    assert api.get("/organizations/acme").status_code == 401


@pytest.mark.parametrize("body", [{}, {"grace_seconds": -1}, {"grace_seconds": 2_592_001}, {"grace_seconds": 10**30}])
def test_the_grace_period_is_required_and_up_to_thirty_days(api: APIClient, key: Key, body: dict[str, int]) -> None:
    response = api.post(f"{PATH}/{key.credential.client_id}/rotate", body)
    assert (response.status_code, list(response.json()["fields"])) == (422, ["grace_seconds"])


def test_a_revoked_credential_can_neither_be_used_nor_rotated(api: APIClient, organization: Organization) -> None:
    doomed = make_key(organization, *Scope)
    response = api.post(f"{PATH}/{doomed.credential.client_id}/revoke")
    assert response.status_code == 200
    assert response.json()["revoked_at"] is not None
    assert doomed.client().get("/organizations/acme").status_code == 401
    again = api.post(f"{PATH}/{doomed.credential.client_id}/rotate", {"grace_seconds": 0})
    assert (again.status_code, again.json()["code"]) == (409, "credential_ended")


def test_revoking_twice_changes_nothing(api: APIClient, organization: Organization) -> None:
    doomed = make_key(organization, *Scope)
    path = f"{PATH}/{doomed.credential.client_id}/revoke"
    assert api.post(path).json() == api.post(path).json()
    assert AuditEntry.objects.filter(action="credential.revoked").count() == 1


def test_a_foreign_and_an_unknown_credential_answer_alike(api: APIClient, other_key: Key) -> None:
    answers = {
        api.get(f"{PATH}/{client_id}").content for client_id in (other_key.credential.client_id, "ct_0123456789")
    }
    assert answers == {b'{"error":"Not found.","code":"not_found"}'}


def test_credentials_of_operators_are_hidden_from_members(api: APIClient, owner: User, operator_key: Key) -> None:
    assert api.get(f"{PATH}/{operator_key.credential.client_id}").status_code == 404
