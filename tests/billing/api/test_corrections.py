"""`POST /usage/events/{id}/void` and `/adjust`: who may correct an event, and what the answers say."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from rest_framework.test import APIClient

from billing.models import UsageEvent
from organizations.models import AuditEntry, Membership, Organization, User
from organizations.types import Role, Scope
from tests.conftest import Key, make_key
from tests.usage import Send

VOID = {"reason": "sent twice"}
ADJUST = {"cost_usd": "1.25", "reason": "as on the bill"}


@pytest.fixture
def event(send: Send) -> UsageEvent:
    send({"id": "a", "model": "m", "input_tokens": 100, "cost_usd": "1", "run_id": "r"})
    return UsageEvent.objects.get()


def url(event: UsageEvent, action: str = "") -> str:
    return f"/usage/events/{event.pk}/{action}".rstrip("/")


# --- What is answered ------------------------------------------------------------------------------------------


def test_a_void_answers_with_its_row_and_what_the_event_costs_now(api: APIClient, key: Key, event: UsageEvent) -> None:
    response = api.post(url(event, "void"), VOID)

    assert response.status_code == 201
    row = response.json()
    assert (row["kind"], row["adjusts"], row["run_id"]) == ("adjustment", str(event.pk), "r")
    assert (row["cost_usd"], row["cost_now_usd"], row["input_tokens"]) == ("-1", "0", -100)
    who, at = key.credential.client_id, row["received_at"]
    assert row["correction"] == {"kind": "void", "actor": who, "reason": "sent twice", "at": at}

    explained = api.get(url(event)).json()
    assert (explained["voided"], explained["cost_now_usd"], explained["cost_usd"]) == (True, "0", "1")
    assert explained["adjustments"] == [{name: value for name, value in row.items() if name != "cost_now_usd"}]
    listed = api.get("/usage/events?run_id=r").json()["results"]
    assert sorted(each["cost_usd"] for each in listed) == ["-1", "1"]


def test_an_adjustment_sets_the_cost_and_can_be_set_again(api: APIClient, event: UsageEvent) -> None:
    first = api.post(url(event, "adjust"), ADJUST).json()
    second = api.post(url(event, "adjust"), {**ADJUST, "cost_usd": 0.5}).json()

    assert [first["cost_usd"], first["cost_now_usd"]] == ["0.25", "1.25"]
    assert [second["cost_usd"], second["cost_now_usd"]] == ["-0.75", "0.5"]
    explained = api.get(url(event)).json()
    assert (explained["voided"], explained["cost_now_usd"]) == (False, "0.5")
    assert [row["correction"]["kind"] for row in explained["adjustments"]] == ["adjust", "adjust"]


def test_an_event_without_a_known_cost_has_one_then(api: APIClient, send: Send) -> None:
    send({"id": "a", "model": "unheard-of", "input_tokens": 5, "run_id": "r"})
    event = UsageEvent.objects.get()

    assert api.post(url(event, "adjust"), ADJUST).json()["cost_now_usd"] == "1.25"

    explained = api.get(url(event)).json()
    assert (explained["cost_usd"], explained["cost_now_usd"]) == (None, "1.25")
    costs = api.get("/costs/runs/r").json()
    assert costs["total_cost"] == 1.25


# --- What is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "body", "field"),
    [
        ("void", {}, "reason"),
        ("void", {"reason": " "}, "reason"),
        ("void", {"reason": "x" * 256}, "reason"),
        ("void", {"reason": "a\0b"}, "reason"),
        ("void", {"reason": ["x"]}, "reason"),
        ("void", {**VOID, "cost_usd": "1"}, "cost_usd"),
        ("adjust", {"reason": "x"}, "cost_usd"),
        ("adjust", {**ADJUST, "cost_usd": None}, "cost_usd"),
        ("adjust", {**ADJUST, "cost_usd": "-0.01"}, "cost_usd"),
        ("adjust", {**ADJUST, "cost_usd": "much"}, "cost_usd"),
        ("adjust", {**ADJUST, "cost_usd": "NaN"}, "cost_usd"),
        ("adjust", {**ADJUST, "cost_usd": "1e400"}, "cost_usd"),
        ("adjust", {**ADJUST, "cost_usd": "0." + 25 * "1"}, "cost_usd"),
        ("adjust", {"cost_usd": "1"}, "reason"),
    ],
)
def test_bad_input_names_its_field(
    action: str, body: dict[str, Any], field: str, api: APIClient, event: UsageEvent
) -> None:
    response = api.post(url(event, action), body)
    assert response.status_code == 422, response.content
    assert list(response.json()["fields"]) == [field]
    assert UsageEvent.objects.count() == 1


def test_what_cannot_be_corrected_is_a_conflict_with_a_code(api: APIClient, event: UsageEvent) -> None:
    def refused(action: str, body: dict[str, str], of: str = str(event.pk)) -> tuple[int, str]:
        response = api.post(f"/usage/events/{of}/{action}", body)
        return response.status_code, response.json()["code"]

    assert refused("adjust", {**ADJUST, "cost_usd": "1.00"}) == (409, "nothing_to_adjust")
    row = api.post(url(event, "void"), VOID).json()
    assert refused("void", VOID) == (409, "already_voided")
    assert refused("adjust", ADJUST) == (409, "already_voided")
    assert refused("void", VOID, of=row["id"]) == (409, "is_adjustment")
    assert api.post(f"/usage/events/{row['id']}/void", VOID).json()["adjusts"] == str(event.pk)
    assert UsageEvent.objects.count() == 2


# --- Who may ---------------------------------------------------------------------------------------------------

CALLERS = {
    "anonymous": 401,
    "stranger": 404,
    "stranger's session": 404,
    "viewer": 403,
    "admin": 201,
    "owner": 201,
    "reading key": 403,
    "writing key": 403,
    "managing key": 201,
    "operator key": 201,
    "operator": 201,
}


@pytest.fixture
def client_of(
    organization: Organization, other_key: Key, owner: User, viewer: User, stranger: User, operator: User
) -> Callable[[str], APIClient]:
    admin = User.objects.create_user("admin@acme.example")
    Membership.objects.create(organization=organization, user=admin, role=Role.ADMIN)
    people = {"viewer": viewer, "admin": admin, "owner": owner, "operator": operator, "stranger's session": stranger}
    keys = {
        "reading key": (organization, Scope.COSTS_READ),
        "writing key": (organization, Scope.USAGE_WRITE),
        "managing key": (organization, Scope.MANAGE),
        "operator key": (None, *Scope),
    }

    def _client_of(caller: str) -> APIClient:
        if caller in keys:
            return make_key(*keys[caller]).client()
        client = other_key.client() if caller == "stranger" else APIClient()
        if caller in people:
            client.force_login(people[caller])
        return client

    return _client_of


@pytest.mark.parametrize(("action", "body"), [("void", VOID), ("adjust", ADJUST)])
@pytest.mark.parametrize(("caller", "status"), CALLERS.items())
def test_the_status_is_the_one_in_the_matrix(
    caller: str,
    status: int,
    action: str,
    body: dict[str, str],
    client_of: Callable[[str], APIClient],
    event: UsageEvent,
) -> None:
    of_an_operator = "?organization=acme" if caller.startswith("operator") else ""
    response = client_of(caller).post(url(event, action) + of_an_operator, body)
    assert response.status_code == status, response.content
    assert UsageEvent.objects.count() == (2 if status == 201 else 1)
    if status == 201:
        entry = AuditEntry.objects.get(action=f"event.{action}ed")
        assert entry.actor == response.json()["correction"]["actor"] != ""
    else:
        assert set(response.json()) >= {"error", "code"}


def test_an_event_of_another_organization_responds_like_an_unknown_one(other_api: APIClient, event: UsageEvent) -> None:
    for action, body in (("void", VOID), ("adjust", ADJUST)):
        responses = [other_api.post(f"/usage/events/{pk}/{action}", body) for pk in (event.pk, uuid4())]
        assert [answer.status_code for answer in responses] == [404, 404]
        assert responses[0].json() == responses[1].json()


def test_a_browser_needs_the_csrf_token(owner: User, event: UsageEvent) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(owner)
    response = browser.post(url(event, "void"), VOID, content_type="application/json")
    assert response.status_code == 403
    assert UsageEvent.objects.count() == 1


def test_a_plan_without_api_still_corrects_what_it_has_recorded(
    api: APIClient, organization: Organization, event: UsageEvent
) -> None:
    Organization.objects.filter(pk=organization.pk).update(plan="free")
    assert api.post(url(event, "void"), VOID).status_code == 201
