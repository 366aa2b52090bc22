"""Document 004 (LiteLLM's): `GET /spend/keys` and `GET /spend/users`."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.ledger.corrections import void
from billing.models import UsageEvent
from billing.reports.spend.keys import key_hash
from billing.rollups.fold import fold
from organizations.models import Organization, User
from organizations.services import revoke_credential
from organizations.types import Scope
from tests.billing.api.spend_requests import call, refused
from tests.conftest import Key, make_key
from tests.usage import NOW, Send


def test_keys_by_spend_and_nothing_of_their_secrets(api: APIClient, key: Key, organization: Organization) -> None:
    other = make_key(organization, Scope.USAGE_WRITE, name="gateway")
    unused = make_key(organization, Scope.COSTS_READ, name="unused")
    other.client().post("/usage/events", [call("02T09:00", "5")], format="json")
    api.post("/usage/events", [call("02T09:00", "2"), call("03T09:00", "1")], format="json")
    revoke_credential(organization=organization, credential=other.credential, actor="tests", now=NOW)

    response = api.get("/spend/keys")

    rows = response.json()
    assert [(row["key_alias"], row["spend"], row["blocked"]) for row in rows] == [
        ("gateway", 5.0, True),
        ("test", 3.0, False),
        ("unused", 0.0, False),
    ]
    assert rows[0]["token"] == key_hash(other.credential.client_id)
    assert rows[0]["key_name"] == other.credential.client_id
    for item in (key, other, unused):
        assert item.client_secret.encode() not in response.content
        assert item.credential.secret_hash.encode() not in response.content
    assert set(rows[0]) == {
        "token",
        "key_name",
        "key_alias",
        "spend",
        "max_budget",
        "budget_duration",
        "budget_reset_at",
        "user_id",
        "team_id",
        "models",
        "metadata",
        "blocked",
        "expires",
        "created_at",
        "litellm_budget_table",
    }


@pytest.mark.parametrize("is_folded", [True, False])
def test_users_by_spend(api: APIClient, organization: Organization, send: Send, *, is_folded: bool) -> None:
    send(
        call("02T09:00", "1", user_id="ada"),
        call("03T09:00", "2", user_id="ada"),
        call("03T09:00", "5", user_id="grace", id="grace"),
        call("03T09:00", "7"),
        call("03T09:00", "9", user_id="ada", id="voided"),
    )
    event = UsageEvent.objects.of(organization).get(event_id="voided")
    void(organization=organization, event_id=event.pk, reason="A test.", actor="tests", now=NOW)
    if is_folded:
        fold(now=NOW)

    rows = api.get("/spend/users").json()

    assert [(row["user_id"], row["spend"]) for row in rows] == [("", 7.0), ("grace", 5.0), ("ada", 3.0)]
    assert rows[1]["max_budget"] is None
    assert [row["spend"] for row in api.get("/spend/users?user_id=ada").json()] == [3.0]
    assert api.get("/spend/users?user_id=nobody").json() == []


@pytest.mark.parametrize(
    ("url", "status", "param"),
    [
        ("/spend/users?user_id=a%00", 422, "user_id"),
    ],
)
def test_bad_parameters_are_named(api: APIClient, url: str, status: int, param: str) -> None:
    assert refused(api, url) == (status, "bad_request", param)


def test_who_may_read(
    organization: Organization, key: Key, owner: User, viewer: User, stranger: User, send: Send
) -> None:
    send(call("02T09:00", "1", user_id="ada"))
    writer = make_key(organization, Scope.USAGE_WRITE, name="writer").client()
    for route, seen in (("/spend/keys", 2), ("/spend/users", 1)):
        assert refused(APIClient(), route)[0] == 401
        assert refused(writer, route)[0] == 403
        for user, rows in ((owner, seen), (viewer, seen), (stranger, 0)):
            client = Client()
            client.force_login(user)
            assert len(client.get(route).json()) == rows
