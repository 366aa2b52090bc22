"""Who may ask `GET /usage/limits`, `/usage/access` and `/usage/own`, what of the limits they see, and bad input."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.types import LimitScope
from organizations.models import Organization, User
from organizations.types import Scope
from tests.conftest import Key, make_key
from tests.limits import set_limit

LIMITS, ACCESS, OWN = "/usage/limits", "/usage/access", "/usage/own"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def limited(organization: Organization, key: Key) -> dict[str, int]:
    """Limits of every kind; `own` is about the key's credential."""
    other = make_key(organization, name="other").credential.client_id
    return {
        "organization": set_limit(organization, "10").pk,
        "user": set_limit(organization, "10", LimitScope.USER, "ada").pk,
        "each user": set_limit(organization, "10", LimitScope.USER).pk,
        "own": set_limit(organization, "10", LimitScope.CREDENTIAL, key.credential.client_id).pk,
        "other": set_limit(organization, "10", LimitScope.CREDENTIAL, other).pk,
        "each credential": set_limit(organization, "10", LimitScope.CREDENTIAL).pk,
    }


def ids(client: Any, query: str = "") -> list[int]:
    response = client.get(f"{LIMITS}?{query}")
    assert response.status_code == 200, response.content
    return [limit["id"] for limit in response.json()["limits"]]


def test_members_and_credentials_that_read_costs_see_all_limits(
    organization: Organization, limited: dict[str, int], owner: User, viewer: User, operator_api: APIClient
) -> None:
    everything = sorted(limited.values())
    for user in (owner, viewer):
        assert ids(signed_in(user)) == everything
    assert ids(make_key(organization, Scope.COSTS_READ).client()) == everything
    assert ids(operator_api, "organization=acme") == everything


@pytest.mark.parametrize("scopes", [(), (Scope.LIMITS_AUTHORIZE,), (Scope.USAGE_WRITE, Scope.MANAGE)])
def test_any_other_credential_sees_what_covers_it(
    organization: Organization, limited: dict[str, int], scopes: tuple[Scope, ...]
) -> None:
    key = make_key(organization, *scopes)
    client, client_id = key.client(), key.credential.client_id
    own = set_limit(organization, "10", LimitScope.CREDENTIAL, client_id).pk
    seen = [limited["organization"], limited["each credential"], own]
    assert ids(client) == seen
    (of_each,) = [limit for limit in client.get(LIMITS).json()["limits"] if limit["of_each"]]
    assert [item["scope_value"] for item in of_each["values"]] == [client_id]
    assert (of_each["values_used"], of_each["values_left_out"]) == (None, 0)

    assert ids(client, f"scope=credential&scope_value={client_id}") == seen[1:]
    assert ids(client, "scope=organization") == seen[:1]
    for others in ("scope=user", "scope=user&scope_value=ada"):
        assert ids(client, others) == []
    for other in organization.credentials.exclude(client_id=client_id):
        assert ids(client, f"scope=credential&scope_value={other.client_id}") == []


@pytest.mark.parametrize("path", [LIMITS, ACCESS, OWN])
def test_strangers_and_who_says_nothing_stay_outside(
    path: str, limited: dict[str, int], stranger: User, other_api: APIClient
) -> None:
    assert Client().get(path).status_code == 401
    for client in (signed_in(stranger), other_api):
        assert client.get(f"{path}?organization=acme").status_code == 404


def test_another_organization_has_its_own_limits(limited: dict[str, int], stranger: User, other_api: APIClient) -> None:
    assert ids(signed_in(stranger)) == ids(other_api) == []
    assert other_api.get(ACCESS).json()["allowed"] is True


@pytest.mark.parametrize("path", [LIMITS, ACCESS, OWN])
def test_a_plan_without_api_access_has_none(path: str, organization: Organization, operator_api: APIClient) -> None:
    organization.plan_id = "free"
    organization.save()
    response = make_key(organization, *Scope).client().get(path)
    assert (response.status_code, response.json()["code"]) == (403, "plan_without_api")
    status = 422 if path == OWN else 200
    assert operator_api.get(f"{path}?organization=acme").status_code == status


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        (LIMITS, "color=red", "color"),
        (LIMITS, "scope=planet", "scope"),
        (LIMITS, "scope_value=ada", "scope"),
        (LIMITS, "scope=user&scope_value=%00", "scope_value"),
        (LIMITS, f"scope=user&scope_value={'x' * 256}", "scope_value"),
        (LIMITS, "state=angry", "state"),
        (ACCESS, "color=red", "color"),
        (ACCESS, "estimated_cost_usd=-1", "estimated_cost_usd"),
        (ACCESS, "estimated_cost_usd=NaN", "estimated_cost_usd"),
        (ACCESS, "estimated_cost_usd=1e999", "estimated_cost_usd"),
        (ACCESS, "estimated_cost_usd=a+lot", "estimated_cost_usd"),
        (ACCESS, "user_id=%00", "user_id"),
        (ACCESS, f"model={'x' * 256}", "model"),
        (ACCESS, f"tags={'x' * 256}", "tags.0"),
        (ACCESS, "&".join(["tags=t"] * 51), "tags"),
        (OWN, "range=today", "range"),
    ],
)
def test_bad_input_is_named(api: APIClient, path: str, query: str, field: str) -> None:
    response = api.get(f"{path}?{query}")
    assert response.status_code == 422, response.content
    assert list(response.json()["fields"]) == [field]


def test_empty_parameters_are_none(api: APIClient) -> None:
    empty = "&".join(
        f"{name}=" for name in ("model", "user_id", "tags", "run_id", "estimated_cost_usd", "organization")
    )
    assert api.get(f"{ACCESS}?{empty}").json()["allowed"] is True


@pytest.mark.parametrize("path", [LIMITS, ACCESS, OWN])
def test_they_are_only_read(api: APIClient, path: str) -> None:
    for method in ("post", "put", "patch", "delete"):
        assert getattr(api, method)(path).status_code == 405
