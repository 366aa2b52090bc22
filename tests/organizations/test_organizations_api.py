"""`/organizations` and `/organizations/{slug}`."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from organizations.models import AuditEntry, Membership, Organization, User
from organizations.types import Role
from tests.conftest import Key


def signed_in(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def test_an_operator_makes_an_organization_from_a_name(operator_api: APIClient, operator_key: Key) -> None:
    response = operator_api.post("/organizations", {"name": "Déjà Vu & Co."})
    assert response.status_code == 201
    body = response.json()
    assert body.pop("created_at")
    assert body == {
        "slug": "deja-vu-co",
        "name": "Déjà Vu & Co.",
        "plan": "pay_as_you_go",
        "time_zone": "UTC",
        "week_start": 1,
        "retention_months": 0,
        "requires_second_factor": False,
        "ignores_user_case": False,
        "closes_at": None,
    }
    entry = AuditEntry.objects.get(organization__slug="deja-vu-co")
    assert (entry.action, entry.actor) == ("organization.created", operator_key.credential.client_id)


def test_slugs_made_from_the_same_name_are_numbered(operator_api: APIClient) -> None:
    slugs = [operator_api.post("/organizations", {"name": "Twin"}).json()["slug"] for _ in range(3)]
    assert slugs == ["twin", "twin-2", "twin-3"]


def test_everything_can_be_given(operator_api: APIClient) -> None:
    body = {"name": "X", "slug": "x-1", "plan": "enterprise", "time_zone": "Europe/Berlin", "week_start": 7}
    response = operator_api.post("/organizations", body)
    assert response.status_code == 201
    assert {name: response.json()[name] for name in body} == body


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": {"first": "A"}}, "name"),
        ({"name": "日本"}, "slug"),
        ({"slug": "Upper"}, "slug"),
        ({"slug": "a/b"}, "slug"),
        ({"slug": "a--b"}, "slug"),
        ({"slug": "x" * 64}, "slug"),
        ({"plan": "platinum"}, "plan"),
        ({"plan": "a\x00"}, "plan"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"week_start": 0}, "week_start"),
        ({"week_start": "monday"}, "week_start"),
        ({"color": "red"}, "color"),
        ({"created_at": "2026-01-01T00:00:00Z"}, "created_at"),
    ],
)
def test_a_wrong_value_is_a_422_that_names_its_field(
    operator_api: APIClient, change: dict[str, Any], field: str
) -> None:
    response = operator_api.post("/organizations", {"name": "New", **change})
    assert response.status_code == 422
    body = response.json()
    assert list(body["fields"]) == [field]
    assert body["error"].startswith(f"{field}: ")


def test_a_slug_that_is_taken_is_a_conflict(operator_api: APIClient, organization: Organization) -> None:
    response = operator_api.post("/organizations", {"name": "New", "slug": "acme"})
    assert (response.status_code, response.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize("body", ["[]", '"text"', "3", "null"])
def test_a_body_that_is_not_an_object_is_refused(operator_api: APIClient, body: str) -> None:
    response = operator_api.post("/organizations", body, content_type="application/json")
    assert response.status_code == 422


@pytest.mark.parametrize("body", [b"{", b'{"name": NaN}', b"[" * 100_000, b'{"name": "\xff"}', b'{"\\ud800": 1}'])
def test_a_body_that_is_not_json_is_a_400(operator_api: APIClient, body: bytes) -> None:
    response = operator_api.post("/organizations", body, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


def test_without_a_body_the_fields_that_are_needed_are_named(operator_api: APIClient) -> None:
    response = operator_api.post("/organizations", b"", content_type="application/json")
    assert (response.status_code, list(response.json()["fields"])) == (422, ["name"])


def test_a_body_that_is_too_large_is_a_413(operator_api: APIClient) -> None:
    response = operator_api.post("/organizations", {"name": "x" * 1_100_000})
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_a_body_of_another_type_is_a_415(operator_api: APIClient) -> None:
    response = operator_api.generic("POST", "/organizations", "name=New", content_type="text/plain")
    assert response.status_code == 415


def test_the_charset_of_the_header_does_not_matter(operator_api: APIClient) -> None:
    response = operator_api.generic(
        "POST", "/organizations", '{"name": "Zip"}', content_type="application/json; charset=zlib"
    )
    assert response.status_code == 201


def test_the_list_shows_what_each_caller_can_see(
    organization: Organization,
    other_organization: Organization,
    owner: User,
    operator: User,
    api: APIClient,
    operator_api: APIClient,
) -> None:
    def slugs(client: APIClient) -> list[str]:
        return [row["slug"] for row in client.get("/organizations").json()["results"]]

    assert slugs(operator_api) == slugs(signed_in(operator)) == ["acme", "globex"]
    assert slugs(api) == slugs(signed_in(owner)) == ["acme"]
    Membership.objects.create(organization=other_organization, user=owner, role=Role.VIEWER)
    assert slugs(signed_in(owner)) == ["acme", "globex"]


def test_the_list_is_paged_and_filtered(operator_api: APIClient) -> None:
    for number in range(5):
        operator_api.post("/organizations", {"name": f"N{number}", "plan": "pro" if number % 2 else "free"})
    page = operator_api.get("/organizations", {"page_size": 2, "page": 2}).json()
    assert page["count"] == 5
    assert [row["slug"] for row in page["results"]] == ["n2", "n3"]
    assert "page=3" in page["next"]
    by_plan = operator_api.get("/organizations", {"plan": "pro"}).json()
    assert [row["slug"] for row in by_plan["results"]] == ["n1", "n3"]
    by_name = operator_api.get("/organizations", {"name": "n4"}).json()
    assert [row["slug"] for row in by_name["results"]] == ["n4"]


@pytest.mark.parametrize(
    "query",
    ["page=0", "page=x", "page=-1", "page_size=0", "page_size=101", "page_size=²", "plan=none", "name=%00"],
)
def test_a_wrong_query_is_a_422_that_names_its_parameter(operator_api: APIClient, query: str) -> None:
    response = operator_api.get(f"/organizations?{query}")
    assert response.status_code == 422
    assert list(response.json()["fields"]) == [query.partition("=")[0]]


def test_a_page_after_the_last_is_a_404(operator_api: APIClient) -> None:
    for page in ("9", "9" * 30):
        assert operator_api.get("/organizations", {"page": page}).status_code == 404


def test_a_change_is_written_and_audited(api: APIClient, organization: Organization, key: Key) -> None:
    response = api.patch("/organizations/acme", {"name": "Acme Labs", "time_zone": "Asia/Tokyo"})
    assert response.status_code == 200
    assert response.json()["time_zone"] == "Asia/Tokyo"
    organization.refresh_from_db()
    assert (organization.name, organization.time_zone, organization.week_start) == ("Acme Labs", "Asia/Tokyo", 1)
    entry = AuditEntry.objects.get(action="organization.changed")
    assert entry.actor == key.credential.client_id
    assert entry.details == {"name": "Acme Labs", "time_zone": "Asia/Tokyo"}


def test_a_change_of_nothing_leaves_no_trace(api: APIClient) -> None:
    assert api.patch("/organizations/acme", {}).status_code == 200
    assert api.patch("/organizations/acme", {"name": "Acme Research"}).status_code == 200
    assert not AuditEntry.objects.filter(action="organization.changed").exists()


def test_an_unknown_and_a_foreign_organization_answer_alike(
    api: APIClient, owner: User, other_organization: Organization
) -> None:
    for client in (api, signed_in(owner)):
        answers = {
            client.get(f"/organizations/{slug}").content for slug in ("globex", "nobody", "a%00b", "Acme", "%ff")
        }
        assert answers == {b'{"error":"No such organization.","code":"not_found"}'}


def test_a_user_without_a_membership_gets_an_explanation(db: None) -> None:
    person = User.objects.create_user("lonely@example.com")
    client = signed_in(person)
    assert client.get("/organizations").json()["results"] == []
    assert client.get("/organizations/acme").status_code == 404


def test_a_trailing_slash_is_another_path(api: APIClient) -> None:
    assert api.get("/organizations/").status_code == 404
