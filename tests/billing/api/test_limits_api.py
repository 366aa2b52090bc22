"""`/organizations/{slug}/limits`: limits made, listed, changed and removed."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.models import SpendLimit
from costtrack.clock import iso, utc_now
from organizations import services
from organizations.models import AuditEntry, Organization, User
from organizations.types import Scope
from tests.billing.limits.factories import make_limit
from tests.conftest import Key, make_key
from tests.usage import NOW

PATH = "/organizations/acme/limits"
BODY = {"scope": "user", "scope_value": "ada", "window": "calendar_week", "amount_usd": "20.50"}


def signed_in(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def fields(response: Any) -> set[str]:
    """The fields that an answer of 422 names."""
    assert response.status_code == 422, response.content
    return set(response.json()["fields"])


# --- Making ----------------------------------------------------------------------------------------------------


def test_a_limit_is_made_with_everything_it_can_say(api: APIClient, key: Key) -> None:
    ends = (utc_now() + timedelta(days=30)).replace(microsecond=0)
    response = api.post(
        PATH,
        {
            **BODY,
            "action": "notify",
            "thresholds": [50, 75],
            "soft_amount_usd": 12.25,
            "fallback_price": "3",
            "cheaper_models": ["gpt-4o-mini"],
            "starts_at": "2026-01-01T01:00:00+01:00",
            "ends_at": iso(ends),
        },
    )
    assert response.status_code == 201, response.content
    shown = response.json()
    limit = SpendLimit.objects.get()
    assert shown.pop("created_at") == iso(limit.created_at)
    assert shown == {
        "id": limit.pk,
        "scope": "user",
        "scope_value": "ada",
        "conditions": [],
        "members": [],
        "member_amounts": {},
        "missing": "allow",
        "default_value": "",
        "window": "calendar_week",
        "month_day": 1,
        "unit": "usd",
        "amount_usd": "20.5",
        "action": "notify",
        "thresholds": [50, 75, 100],
        "soft_amount_usd": "12.25",
        "fallback_price": "3",
        "cheaper_models": ["gpt-4o-mini"],
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": iso(ends),
        "is_plan": False,
        "overrides": [],
    }
    assert AuditEntry.objects.get(action="limit.created").actor == key.credential.client_id


def test_three_fields_are_enough_and_an_amount_may_be_a_number(api: APIClient) -> None:
    shown = api.post(PATH, {"scope": "run", "window": "lifetime", "amount_usd": 1e-7}).json()
    assert (shown["scope_value"], shown["amount_usd"], shown["action"]) == ("", "0.0000001", "pause")
    assert shown["thresholds"] == [80, 95, 100]
    assert [shown[name] for name in ("soft_amount_usd", "fallback_price", "starts_at", "ends_at")] == [None] * 4


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"scope": None}, {"scope"}),
        ({"scope": "planet"}, {"scope"}),
        ({"scope": "organization"}, {"scope_value"}),
        ({"scope": "credential"}, {"scope_value"}),
        ({"scope_value": 7}, {"scope_value"}),
        ({"scope_value": "x" * 256}, {"scope_value"}),
        ({"scope_value": "a\x00b"}, {"scope_value"}),
        ({"window": "fortnight"}, {"window"}),
        ({"amount_usd": None}, {"amount_usd"}),
        ({"amount_usd": "-1"}, {"amount_usd"}),
        ({"amount_usd": True}, {"amount_usd"}),
        ({"amount_usd": "NaN"}, {"amount_usd"}),
        ({"amount_usd": "much"}, {"amount_usd"}),
        ({"amount_usd": "1e30"}, {"amount_usd"}),
        ({"amount_usd": "0.0000000000000000000000001"}, {"amount_usd"}),
        ({"amount_usd": "1_0"}, {"amount_usd"}),
        ({"amount_usd": " 10"}, {"amount_usd"}),
        ({"soft_amount_usd": "\uff11"}, {"soft_amount_usd"}),
        ({"amount_usd": "100.01"}, {"amount_usd"}),
        ({"action": "shout"}, {"action"}),
        ({"thresholds": "80"}, {"thresholds"}),
        ({"thresholds": [0]}, {"thresholds.0"}),
        ({"thresholds": [50, "x"]}, {"thresholds.1"}),
        ({"thresholds": [90, 50]}, {"thresholds"}),
        ({"soft_amount_usd": "20.51"}, {"soft_amount_usd"}),
        ({"fallback_price": "-1"}, {"fallback_price"}),
        ({"starts_at": "soon"}, {"starts_at"}),
        ({"ends_at": "2026-01-01T00:00:00Z"}, {"ends_at"}),
        ({"starts_at": "2099-01-02T00:00:00Z", "ends_at": "2099-01-01T00:00:00Z"}, {"ends_at"}),
        ({"is_plan": True, "name": "x"}, {"is_plan", "name"}),
    ],
)
def test_wrong_input_names_the_field(api: APIClient, wrong: dict[str, Any], names: set[str]) -> None:
    assert fields(api.post(PATH, {**BODY, **wrong})) == names
    assert not SpendLimit.objects.exists()


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"1"])
def test_a_body_that_is_no_object_is_refused(api: APIClient, body: bytes) -> None:
    assert api.post(PATH, body, content_type="application/json").status_code == 422


def test_beyond_the_plan_the_answer_says_what_the_plan_allows(api: APIClient) -> None:
    assert api.post(PATH, {**BODY, "amount_usd": "100.00"}).status_code == 201
    body = api.post(PATH, {**BODY, "amount_usd": "100.01"}).json()
    assert body["code"] == "plan_maximum"
    assert body["error"] == "amount_usd: The Pay as you go plan allows at most 100 USD a week."
    assert (body["plan"], body["maximum_usd"]) == ("pay_as_you_go", "100")


def test_a_foreign_and_an_unknown_client_id_are_refused_alike(api: APIClient, key: Key, other_key: Key) -> None:
    body = {**BODY, "scope": "credential"}
    assert api.post(PATH, {**body, "scope_value": key.credential.client_id}).status_code == 201
    foreign = api.post(PATH, {**body, "scope_value": other_key.credential.client_id})
    unknown = api.post(PATH, {**body, "scope_value": f"ct_{'0' * 20}"})
    assert fields(foreign) == {"scope_value"}
    assert foreign.json() == unknown.json()


def test_a_plan_without_api_access_names_a_plan_that_has_it(api: APIClient, organization: Organization) -> None:
    limit = make_limit(organization)
    organization.plan_id = "free"
    organization.save()
    for response in (api.post(PATH, BODY), api.patch(f"{PATH}/{limit.pk}", {"amount_usd": 5})):
        assert (response.status_code, response.json()["code"]) == (403, "plan_without_api")
        assert response.json()["upgrade_to"] == "pay_as_you_go"
    assert api.get(PATH).json()["count"] == 1
    assert api.delete(f"{PATH}/{limit.pk}").status_code == 204


# --- Reading ---------------------------------------------------------------------------------------------------


def ids(response: Any) -> list[int]:
    assert response.status_code == 200, response.content
    return [limit["id"] for limit in response.json()["results"]]


def test_limits_are_listed_in_pages_and_by_what_they_are_about(api: APIClient, organization: Organization) -> None:
    hour = timedelta(hours=1)
    ended, coming = (
        make_limit(organization, scope="user", scope_value="ada", amount_usd=Decimal(usd)) for usd in (10, 20)
    )
    SpendLimit.objects.filter(pk=ended.pk).update(ends_at=utc_now() - hour)
    SpendLimit.objects.filter(pk=coming.pk).update(starts_at=utc_now() + hour)
    of_tag = make_limit(organization, scope="tag", window="lifetime")
    removed = make_limit(organization)
    assert api.delete(f"{PATH}/{removed.pk}").status_code == 204

    assert ids(api.get(PATH)) == [ended.pk, coming.pk, of_tag.pk]
    assert ids(api.get(f"{PATH}?page_size=2&page=2")) == [of_tag.pk]
    assert ids(api.get(f"{PATH}?scope=tag")) == [of_tag.pk]
    assert ids(api.get(f"{PATH}?scope_value=ada")) == [ended.pk, coming.pk]
    assert ids(api.get(f"{PATH}?window=lifetime")) == [of_tag.pk]
    assert ids(api.get(f"{PATH}?in_force=true")) == [of_tag.pk]
    assert ids(api.get(f"{PATH}?in_force=false")) == [ended.pk, coming.pk]
    assert fields(api.get(f"{PATH}?scope=planet")) == {"scope"}
    assert fields(api.get(f"{PATH}?in_force=perhaps")) == {"in_force"}
    assert api.get(f"{PATH}/{removed.pk}").status_code == 404


# --- Changing --------------------------------------------------------------------------------------------------


def test_a_limit_is_changed_in_part(api: APIClient, organization: Organization) -> None:
    limit = make_limit(organization, soft_amount_usd=Decimal(5))
    path = f"{PATH}/{limit.pk}"
    shown = api.patch(path, {"amount_usd": 7, "soft_amount_usd": None, "thresholds": []}).json()
    assert (shown["amount_usd"], shown["soft_amount_usd"], shown["thresholds"]) == ("7", None, [100])
    assert shown["action"] == "pause"
    assert api.get(path).json() == shown
    assert api.patch(path, {"scope": "organization", "scope_value": "", "window": "calendar_day"}).status_code == 200
    assert api.put(path, BODY).status_code == 405


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"scope": "user"}, {"scope"}),
        ({"scope_value": "ada"}, {"scope_value"}),
        ({"window": "lifetime"}, {"window"}),
        ({"amount_usd": None}, {"amount_usd"}),
        ({"thresholds": None}, {"thresholds"}),
        ({"action": None}, {"action"}),
        ({"id": 7, "overrides": []}, {"id", "overrides"}),
    ],
)
def test_a_wrong_change_names_the_field(
    api: APIClient, organization: Organization, wrong: dict[str, Any], names: set[str]
) -> None:
    limit = make_limit(organization)
    assert fields(api.patch(f"{PATH}/{limit.pk}", wrong)) == names
    limit.refresh_from_db()
    assert limit.amount_usd == 10


def test_the_plans_own_limit_is_lowered_and_stays(operator_api: APIClient) -> None:
    organization = services.create_organization(name="Initech", slug="initech", actor="tests", now=NOW)
    client = make_key(organization, Scope.MANAGE, Scope.COSTS_READ).client()
    (limit,) = client.get("/organizations/initech/limits").json()["results"]
    assert (limit["is_plan"], limit["amount_usd"], limit["window"]) == (True, "100", "rolling_7d")
    path = f"/organizations/initech/limits/{limit['id']}"
    assert client.patch(path, {"amount_usd": "40"}).json()["amount_usd"] == "40"
    for caller in (client, operator_api):
        response = caller.delete(path)
        assert (response.status_code, response.json()["code"]) == (409, "limit_of_plan")


# --- Who -------------------------------------------------------------------------------------------------------


def test_viewers_read_and_owners_change(organization: Organization, viewer: User, owner: User, stranger: User) -> None:
    limit = make_limit(organization)
    path = f"{PATH}/{limit.pk}"
    for user, reads, changes in ((viewer, 200, 403), (owner, 200, 200), (stranger, 404, 404)):
        client = signed_in(user)
        assert client.get(PATH).status_code == reads
        assert client.get(path).status_code == reads
        assert client.patch(path, {"amount_usd": 3}).status_code == changes
    for user, makes, removes in ((viewer, 403, 403), (stranger, 404, 404), (owner, 201, 204)):
        client = signed_in(user)
        assert client.post(PATH, BODY).status_code == makes
        assert client.delete(path).status_code == removes
    assert APIClient().get(PATH).status_code == 401


def test_a_credential_needs_the_scope(organization: Organization) -> None:
    limit = make_limit(organization)
    reader = make_key(organization, Scope.COSTS_READ, name="reader").client()
    sender = make_key(organization, Scope.USAGE_WRITE, Scope.LIMITS_AUTHORIZE, name="sender").client()
    assert (reader.get(PATH).status_code, reader.delete(f"{PATH}/{limit.pk}").status_code) == (200, 403)
    assert sender.get(PATH).json()["scope"] == "costs:read"


def test_another_organizations_limit_is_as_one_that_is_not_there(
    api: APIClient, other_organization: Organization
) -> None:
    theirs = make_limit(other_organization, scope_value="secret-tag", scope="tag")
    assert api.get(PATH).json()["count"] == 0
    for path in (f"{PATH}/{theirs.pk}", f"{PATH}/{theirs.pk + 1000}", f"{PATH}/{2**70}"):
        for response in (api.get(path), api.patch(path, {"amount_usd": 1}), api.delete(path)):
            assert response.status_code == 404
            assert b"secret-tag" not in response.content
    assert api.get("/organizations/globex/limits").status_code == 404


# --- The same limit twice ----------------------------------------------------------------------------------------


def test_the_same_limit_is_refused_with_the_id_of_the_first(api: APIClient, key: Key) -> None:
    first = api.post(PATH, BODY).json()
    for body in (BODY, {**BODY, "thresholds": [50], "soft_amount_usd": "10", "fallback_price": "3"}):
        response = api.post(PATH, body)
        assert (response.status_code, response.json()["code"]) == (409, "limit_exists")
        assert response.json()["limit"] == first["id"]
    for changed in ({"amount_usd": "21"}, {"action": "notify"}, {"window": "calendar_day"}, {"scope_value": "bob"}):
        assert api.post(PATH, {**BODY, **changed}).status_code == 201


def test_a_limit_is_not_changed_into_another_one(api: APIClient, key: Key) -> None:
    api.post(PATH, BODY)
    second = api.post(PATH, {**BODY, "amount_usd": "30"}).json()["id"]

    assert api.patch(f"{PATH}/{second}", {"amount_usd": BODY["amount_usd"]}).json()["code"] == "limit_exists"
    assert api.patch(f"{PATH}/{second}", {"amount_usd": "30", "thresholds": [50]}).status_code == 200


def test_a_removed_limit_can_be_set_again(api: APIClient, key: Key) -> None:
    first = api.post(PATH, BODY).json()["id"]
    api.delete(f"{PATH}/{first}")

    assert api.post(PATH, BODY).status_code == 201
