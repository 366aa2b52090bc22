"""The role Member sees its own usage, and nothing of others, by the API and in the web UI."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.limits.increases import grant, request_increase
from billing.models import Delivery, IncreaseRequest, SpendLimit
from billing.types import LimitScope, NoticeKind
from costtrack.clock import utc_now
from costtrack.errors import ConflictError
from organizations.models import Membership, Organization, User
from organizations.principals import Principal
from organizations.services import remove_member
from organizations.types import Role
from tests.conftest import Key, add_member
from tests.limits import set_limit
from tests.pages import pages_of
from tests.usage import Send

OWN, THEIRS = "ada@acme.example", "another-user"


@pytest.fixture
def member(organization: Organization, send: Send) -> User:
    now = utc_now().isoformat()
    send(
        {"id": "1", "user_id": OWN, "model": "own-model", "service": "openai", "cost_usd": "1.25", "occurred_at": now},
        {"id": "2", "user_id": "ada", "model": "own-model", "service": "openai", "cost_usd": "0.5", "occurred_at": now},
        {"id": "3", "user_id": THEIRS, "model": "their-model", "service": "x", "cost_usd": "7", "occurred_at": now},
        {"id": "4", "model": "their-model", "service": "x", "cost_usd": "9", "occurred_at": now},
        now=utc_now(),
    )
    return add_member(organization, OWN, Role.MEMBER)


@pytest.fixture
def client(member: User) -> Client:
    client = Client()
    client.force_login(member)
    return client


def test_own_usage_is_what_carries_one_of_the_user_ids(client: Client, member: User) -> None:
    body = client.get("/usage/own").json()
    assert body["user_ids"] == [OWN]
    assert body["spend"]["today_usd"] == "1.25"
    assert body["models"] == [{"model": "own-model", "requests": 1, "cost_usd": "1.25"}]
    Membership.objects.filter(user=member).update(user_ids=[OWN, "ada"])
    body = client.get("/usage/own").json()
    assert (body["spend"]["month_to_date_usd"], body["models"][0]["requests"]) == ("1.75", 2)
    calls = client.get("/usage/own/requests").json()["results"]
    assert sorted(call["event_id"] for call in calls) == ["1", "2"]
    refused = client.get("/usage/own/requests?color=red")
    assert (refused.status_code, list(refused.json()["fields"])) == (422, ["color"])
    Membership.objects.filter(user=member).update(user_ids=[])
    assert client.get("/usage/own").json()["models"] == []
    assert client.get("/usage/own/requests").json()["results"] == []


def test_the_page_has_the_numbers_of_the_api(client: Client) -> None:
    page = client.get("/o/acme/admin/", follow=True)
    assert page.redirect_chain[-1][0] == "/o/acme/admin/my-usage/"
    text = page.content.decode()
    assert "$1.25" in text
    assert "own-model" in text
    assert "their-model" not in text


def test_own_limits_are_those_of_the_user(client: Client, organization: Organization) -> None:
    set_limit(organization, "10", LimitScope.USER, OWN)
    set_limit(organization, "11", LimitScope.USER, THEIRS)
    set_limit(organization, "12")
    limits = client.get("/usage/own").json()["limits"]
    assert [(limit["scope_value"], limit["spent_usd"]) for limit in limits] == [(OWN, "1.25")]


def test_nothing_else_is_open_to_a_member(client: Client, organization: Organization) -> None:
    paths = [
        *("/usage/summary", "/usage/timeseries", "/usage/requests", "/usage/events", "/usage/limits", "/usage/access"),
        *("/usage/authorizations", "/usage/credentials", "/usage/capabilities", "/usage/price-check", "/usage/export"),
        *("/costs/runs", "/costs/sessions", "/costs/executions", "/costs/summary"),
        *("/spend/logs", "/spend/tags", "/spend/keys", "/spend/users", "/global/spend"),
        *("/organizations/acme", "/organizations/acme/limits", "/organizations/acme/members"),
        *("/organizations/acme/prices", "/organizations/acme/audit", "/organizations/acme/deliveries"),
    ]
    bodies = ("/system/pricing", "/system/groups", "/system/export")
    statuses = {path: client.get(path).status_code for path in paths}
    statuses |= {path: client.post(path, {}, content_type="application/json").status_code for path in bodies}
    assert {path: status for path, status in statuses.items() if status != 403} == {}


def test_the_pages_of_a_member_has_the_own_pages(client: Client) -> None:
    links = pages_of(client, "/o/acme/admin/")
    assert links == ["/o/acme/admin/my-usage/", "/o/acme/admin/notification-preferences/"]


def test_a_viewer_has_usage_of_the_own_too(organization: Organization, send: Send, viewer: User) -> None:
    send({"user_id": viewer.email, "model": "m", "cost_usd": "2", "occurred_at": utc_now().isoformat()}, now=utc_now())
    client = Client()
    client.force_login(viewer)
    assert client.get("/usage/own").json()["spend"]["today_usd"] == "2"
    assert "$2" in client.get("/o/acme/admin/my-usage/").content.decode()


def test_others_have_none(organization: Organization, operator: User) -> None:
    client = Client()
    client.force_login(operator)
    assert client.get("/usage/own?organization=acme").status_code == 403
    assert "No usage of your own" in client.get("/o/acme/admin/my-usage/").content.decode()


def ask(client: Client, limit: SpendLimit, **body: str) -> Any:
    given = {"limit": limit.pk, "amount_usd": "20", "reason": "Launch", **body}
    return client.post("/usage/own/limit-requests", given, content_type="application/json")


def test_a_member_requests_an_increase_of_an_own_limit(client: Client, organization: Organization, owner: User) -> None:
    own = set_limit(organization, "10", LimitScope.USER, OWN)
    created = ask(client, own)
    assert (created.status_code, created.json()["state"], created.json()["requested_by"]) == (201, "open", OWN)
    assert ask(client, own).status_code == 409
    request = IncreaseRequest.objects.get()
    grant(
        organization=organization,
        request=request,
        amount_usd=None,
        until=utc_now() + timedelta(days=1),
        answer="Good luck",
        acting_as=Role.OWNER,
        actor=Principal(user=owner),
        now=utc_now(),
    )
    assert client.get("/usage/own").json()["limits"][0]["amount_usd"] == "20"
    [listed] = client.get("/usage/own/limit-requests").json()["results"]
    assert (listed["state"], listed["answer"]) == ("granted", "Good luck")
    assert client.get(f"/usage/own/limit-requests/{listed['id']}").json() == listed
    granted = Delivery.objects.filter(notice__kind=NoticeKind.INCREASE_GRANTED)
    assert OWN in granted.values_list("recipient", flat=True)


def test_limits_and_requests_of_others_are_out_of_reach(
    client: Client, organization: Organization, owner: User, other_organization: Organization
) -> None:
    elsewhere = set_limit(other_organization, "10", LimitScope.USER, OWN)
    theirs = set_limit(organization, "11", LimitScope.USER, THEIRS)
    everyone = set_limit(organization, "12")
    for limit in (elsewhere, theirs, everyone):
        refused = ask(client, limit)
        assert (refused.status_code, list(refused.json()["fields"])) == (422, ["limit"])
        assert client.get(f"/o/acme/admin/my-usage/limits/{limit.pk}/").status_code == 404
    request_increase(
        organization=organization,
        limit=theirs,
        value="",
        amount_usd=Decimal(20),
        reason="Mine",
        until=None,
        actor=Principal(user=owner),
        now=utc_now(),
    )
    assert client.get("/usage/own/limit-requests").json()["results"] == []
    assert client.get(f"/usage/own/limit-requests/{IncreaseRequest.objects.get().pk}").status_code == 404


def test_a_per_value_limit_is_requested_for_one_of_the_own_ids(
    client: Client, organization: Organization, member: User
) -> None:
    each = set_limit(organization, "10", LimitScope.USER)
    assert ask(client, each, user_id=THEIRS).json()["fields"].keys() == {"user_id"}
    assert ask(client, each).json()["value"] == OWN
    Membership.objects.filter(user=member).update(user_ids=[OWN, "ada"])
    assert ask(client, each).json()["fields"].keys() == {"user_id"}
    assert ask(client, each, user_id="ada").json()["value"] == "ada"


def test_the_page_requests_what_the_api_does(client: Client, organization: Organization) -> None:
    own = set_limit(organization, "10", LimitScope.USER, OWN)
    path = f"/o/acme/admin/my-usage/limits/{own.pk}/"
    assert f'href="{path}"' in client.get("/o/acme/admin/my-usage/").content.decode()
    assert "Send request" in client.get(path).content.decode()
    assert (
        "Must be more than the current amount" in client.post(path, {"amount_usd": "1", "reason": "x"}).content.decode()
    )
    done = client.post(path, {"amount_usd": "20", "reason": "The <b>launch</b>"}, follow=True)
    assert done.redirect_chain[-1][0] == "/o/acme/admin/my-usage/"
    assert "The &lt;b&gt;launch&lt;/b&gt;" in done.content.decode()
    assert IncreaseRequest.objects.get().requested_by == OWN


@pytest.mark.parametrize("is_removed", [True, False])
def test_the_requests_of_a_leaving_member_are_declined(
    client: Client, organization: Organization, member: User, owner: User, *, is_removed: bool
) -> None:
    ask(client, set_limit(organization, "10", LimitScope.USER, OWN))
    if is_removed:
        remove_member(
            organization=organization,
            membership=Membership.objects.get(user=member),
            acting_as=Role.OWNER,
            actor=owner.email,
        )
    else:
        assert client.delete("/memberships/acme").status_code == 204
    request = IncreaseRequest.objects.get()
    assert (request.state, request.answered_by) == ("declined", "system")
    with pytest.raises(ConflictError):
        grant(
            organization=organization,
            request=request,
            amount_usd=None,
            until=utc_now() + timedelta(days=1),
            answer="",
            acting_as=Role.OWNER,
            actor=Principal(user=owner),
            now=utc_now(),
        )


def test_a_credential_has_no_own_requests(key: Key, organization: Organization) -> None:
    assert key.client().get("/usage/own/limit-requests").status_code == 403
