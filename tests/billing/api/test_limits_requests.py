"""`/organizations/{slug}/limit-requests`: asking for more, and the answers."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.models import IncreaseRequest, SpendLimit
from billing.types import LimitScope
from costtrack.clock import iso, utc_now
from organizations.models import Membership, Organization, User
from organizations.types import Role, Scope
from tests.billing.api.test_limits_api import fields, signed_in
from tests.billing.limits.factories import make_limit
from tests.conftest import Key, make_key

PATH = "/organizations/acme/limit-requests"


@pytest.fixture
def limit(organization: Organization) -> SpendLimit:
    """10 USD a day for each user."""
    return make_limit(organization, scope=LimitScope.USER)


def wish(limit: SpendLimit, /, **changes: Any) -> dict[str, Any]:
    until = iso((utc_now() + timedelta(days=2)).replace(microsecond=0))
    body = {"limit": limit.pk, "value": "ada", "amount_usd": "40", "until": until, "reason": "The audit."}
    return {**body, **changes}


def request_increase(client: APIClient, limit: SpendLimit, /, **changes: Any) -> dict[str, Any]:
    response = client.post(PATH, wish(limit, **changes))
    assert response.status_code == 201, response.content
    shown: dict[str, Any] = response.json()
    return shown


def test_a_viewer_asks_and_an_owner_grants_less(limit: SpendLimit, viewer: User, owner: User) -> None:
    body = wish(limit)
    shown = request_increase(signed_in(viewer), limit, **body)
    request = IncreaseRequest.objects.get()
    assert shown == {
        **body,
        "id": request.pk,
        "requested_by": "viewer@acme.example",
        "requested_at": iso(request.requested_at),
        "state": "open",
        "answered_by": "",
        "answered_at": None,
        "answer": "",
        "granted_amount_usd": None,
        "granted_until": None,
    }

    client = signed_in(owner)
    answer = {"amount_usd": 30, "answer": "This should do."}
    granted = client.post(f"{PATH}/{request.pk}/grant", answer).json()
    assert (granted["state"], granted["answered_by"]) == ("granted", "owner@acme.example")
    assert (granted["granted_amount_usd"], granted["granted_until"]) == ("30", body["until"])
    assert (granted["amount_usd"], granted["answer"]) == ("40", "This should do.")
    assert client.get(f"{PATH}/{request.pk}").json() == granted
    (exception,) = client.get(f"/organizations/acme/limits/{limit.pk}").json()["overrides"]
    assert (exception["kind"], exception["value"], exception["amount_usd"]) == ("raise", "ada", "30")
    again = client.post(f"{PATH}/{request.pk}/decline", {"answer": "No."})
    assert (again.status_code, again.json()["code"]) == (409, "request_answered")


def test_a_request_is_declined_with_an_answer(limit: SpendLimit, viewer: User, owner: User) -> None:
    shown = request_increase(signed_in(viewer), limit)
    path = f"{PATH}/{shown['id']}/decline"
    assert fields(signed_in(owner).post(path, {})) == {"answer"}
    assert fields(signed_in(owner).post(path, {"answer": ""})) == {"answer"}
    declined = signed_in(owner).post(path, {"answer": "Use the smaller model."}).json()
    assert (declined["state"], declined["answer"]) == ("declined", "Use the smaller model.")


def test_requests_are_listed_newest_first_by_state_and_limit(
    limit: SpendLimit, organization: Organization, viewer: User, owner: User
) -> None:
    other = make_limit(organization)
    first, second = request_increase(signed_in(viewer), limit), request_increase(signed_in(viewer), other, value="")
    client = signed_in(owner)
    client.post(f"{PATH}/{first['id']}/decline", {"answer": "No."})

    def ids(query: str = "") -> list[int]:
        return [row["id"] for row in client.get(f"{PATH}{query}").json()["results"]]

    assert ids() == [second["id"], first["id"]]
    assert ids("?page_size=1&page=2") == [first["id"]]
    assert ids("?state=open") == [second["id"]]
    assert ids(f"?limit={limit.pk}") == [first["id"]]
    assert ids("?requested_by=viewer@acme.example&state=declined") == [first["id"]]
    assert ids("?requested_by=nobody") == []
    assert fields(client.get(f"{PATH}?state=perhaps")) == {"state"}


def test_a_credential_that_reads_costs_may_ask(organization: Organization) -> None:
    limit = make_limit(organization, scope=LimitScope.CREDENTIAL)
    reader = make_key(organization, Scope.COSTS_READ, name="reader")
    client_id = reader.credential.client_id
    shown = request_increase(reader.client(), limit, value=client_id)
    assert (shown["requested_by"], shown["value"]) == (client_id, client_id)
    again = reader.client().post(PATH, wish(limit, value=client_id))
    assert (again.status_code, again.json()["code"]) == (409, "increase_requested")
    sender = make_key(organization, Scope.USAGE_WRITE, name="sender").client()
    assert sender.post(PATH, wish(limit)).status_code == 403


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"limit": None}, {"limit"}),
        ({"limit": "first"}, {"limit"}),
        ({"limit": 0}, {"limit"}),
        ({"limit": 2**70}, {"limit"}),
        ({"amount_usd": "10"}, {"amount_usd"}),
        ({"amount_usd": "-1"}, {"amount_usd"}),
        ({"until": "2026-01-01T00:00:00Z"}, {"until"}),
        ({"reason": ""}, {"reason"}),
        ({"reason": "x" * 501}, {"reason"}),
        ({"value": "a\x00b"}, {"value"}),
        ({"state": "granted"}, {"state"}),
    ],
)
def test_wrong_input_names_the_field(limit: SpendLimit, viewer: User, wrong: dict[str, Any], names: set[str]) -> None:
    assert fields(signed_in(viewer).post(PATH, wish(limit, **wrong))) == names
    assert not IncreaseRequest.objects.exists()


@pytest.mark.parametrize("amount", ["0", "-1"])
def test_an_increase_must_be_more_than_0_as_documented(limit: SpendLimit, viewer: User, amount: str) -> None:
    refused = signed_in(viewer).post(PATH, wish(limit, amount_usd=amount)).json()
    assert refused["fields"].keys() == {"amount_usd"}
    assert refused["error"] == "amount_usd: Must be more than 0."


def test_only_those_who_may_change_limits_answer(
    organization: Organization,
    limit: SpendLimit,
    api: APIClient,
    operator_api: APIClient,
    viewer: User,
    owner: User,
    stranger: User,
) -> None:
    admin = User.objects.create_user("admin@acme.example")
    Membership.objects.create(organization=organization, user=admin, role=Role.ADMIN)
    reader = make_key(organization, Scope.COSTS_READ, name="reader").client()
    for client in (signed_in(admin), api, operator_api, signed_in(owner)):
        path = f"{PATH}/{request_increase(signed_in(viewer), limit)['id']}"
        for other, status in ((signed_in(viewer), 403), (reader, 403), (signed_in(stranger), 404)):
            assert other.post(f"{path}/grant", {}).status_code == status
            assert other.post(f"{path}/decline", {"answer": "No."}).status_code == status
        assert client.post(f"{path}/decline", {"answer": "No."}).status_code == 200
    path = f"{PATH}/{request_increase(signed_in(viewer), limit)['id']}"
    assert signed_in(admin).post(f"{path}/grant", {}).json()["answered_by"] == admin.email


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"until": "2026-01-01T00:00:00Z"}, {"until"}),
        ({}, {"until"}),
        ({"until": "2099-01-01T00:00:00Z", "amount_usd": "10"}, {"amount_usd"}),
        ({"until": "2099-01-01T00:00:00Z", "amount_usd": 0}, {"amount_usd"}),
        ({"until": "2099-01-01T00:00:00Z", "answer": "x" * 501}, {"answer"}),
        ({"reason": "x"}, {"reason"}),
    ],
)
def test_a_wrong_grant_names_the_field(
    limit: SpendLimit, viewer: User, owner: User, wrong: dict[str, Any], names: set[str]
) -> None:
    shown = request_increase(signed_in(viewer), limit, until=None)
    assert fields(signed_in(owner).post(f"{PATH}/{shown['id']}/grant", wrong)) == names
    assert IncreaseRequest.objects.get().state == "open"


def test_another_organizations_requests_are_not_there(
    limit: SpendLimit, viewer: User, other_api: APIClient, other_organization: Organization, other_key: Key
) -> None:
    shown = request_increase(signed_in(viewer), limit)
    theirs = "/organizations/globex/limit-requests"
    assert other_api.get(theirs).json()["count"] == 0
    assert other_api.get(f"{theirs}/{shown['id']}").status_code == 404
    assert other_api.post(f"{theirs}/{shown['id']}/decline", {"answer": "No."}).status_code == 404
    assert other_api.get(PATH).status_code == 404
    foreign, unknown = (other_api.post(theirs, wish(limit, limit=pk)) for pk in (limit.pk, limit.pk + 1000))
    assert fields(foreign) == {"limit"}
    assert foreign.json() == unknown.json()
