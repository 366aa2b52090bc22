"""`/organizations/{slug}/members` and `/organizations/{slug}/audit`."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from organizations.models import AuditEntry, Membership, Organization, User
from organizations.types import Role
from tests.conftest import Key

PATH = "/organizations/acme/members"


def test_an_unknown_person_is_made_without_a_password(api: APIClient) -> None:
    response = api.post(PATH, {"email": "New@Acme.example", "role": "admin"})
    assert response.status_code == 201
    assert response.json()["email"] == "new@acme.example"
    user = User.objects.get(email__iexact="new@acme.example")
    assert not user.has_usable_password()
    assert not user.is_superuser


def test_a_known_person_is_added_with_any_case_of_the_address(api: APIClient, stranger: User) -> None:
    response = api.post(PATH, {"email": "OWNER@globex.example"})
    assert response.status_code == 201
    assert response.json()["role"] == "viewer"
    assert Membership.objects.filter(user=stranger).count() == 2


def test_a_member_is_not_added_twice(api: APIClient, viewer: User) -> None:
    response = api.post(PATH, {"email": viewer.email})
    assert (response.status_code, response.json()["code"]) == (409, "already_member")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "nobody"}, "email"),
        ({"email": "a\x00@b.example"}, "email"),
        ({"email": f"{'x' * 300}@b.example"}, "email"),
        ({"email": "a@b.example", "role": "king"}, "role"),
        ({"email": "a@b.example", "name": "A"}, "name"),
    ],
)
def test_a_wrong_value_is_a_422_that_names_its_field(api: APIClient, body: dict[str, Any], field: str) -> None:
    response = api.post(PATH, body)
    assert (response.status_code, list(response.json()["fields"])) == (422, [field])


def test_the_list_is_filtered(api: APIClient, owner: User, viewer: User, stranger: User) -> None:
    def emails(**query: str) -> list[str]:
        return [row["email"] for row in api.get(PATH, query).json()["results"]]

    assert emails() == [owner.email, viewer.email]
    assert emails(role="owner") == [owner.email]
    assert emails(email="VIEWER@acme.example") == [viewer.email]


def test_a_role_is_changed_and_audited(api: APIClient, viewer: User, key: Key) -> None:
    membership = viewer.memberships.get()
    response = api.patch(f"{PATH}/{membership.pk}", {"role": "admin"})
    assert (response.status_code, response.json()["role"]) == (200, "admin")
    entry = AuditEntry.objects.get(action="member.changed")
    assert (entry.subject, entry.details) == (viewer.email, {"role": "admin", "before": "viewer"})


def test_the_last_owner_stays(operator_api: APIClient, owner: User, viewer: User) -> None:
    path = f"{PATH}/{owner.memberships.get().pk}"
    for response in (operator_api.delete(path), operator_api.patch(path, {"role": "viewer"})):
        assert (response.status_code, response.json()["code"]) == (409, "last_owner")
    operator_api.patch(f"{PATH}/{viewer.memberships.get().pk}", {"role": "owner"})
    assert operator_api.delete(path).status_code == 204


def test_a_member_who_is_removed_loses_access_and_stays_a_person(
    api: APIClient, organization: Organization, viewer: User
) -> None:
    browser = APIClient()
    browser.force_login(viewer)
    assert browser.get("/organizations/acme").status_code == 200
    assert api.delete(f"{PATH}/{viewer.memberships.get().pk}").status_code == 204
    assert browser.get("/organizations/acme").status_code == 404
    assert User.objects.filter(pk=viewer.pk).exists()


def test_a_foreign_and_an_unknown_member_answer_alike(api: APIClient, stranger: User) -> None:
    foreign = stranger.memberships.get().pk
    for method in (api.get, api.delete):
        answers = {method(f"{PATH}/{pk}").content for pk in (foreign, 999_999, 10**30)}
        assert answers == {b'{"error":"Not found.","code":"not_found"}'}


def test_the_audit_log_is_the_newest_first_and_filtered(api: APIClient, key: Key, other_key: Key) -> None:
    api.post(PATH, {"email": "a@acme.example"})
    api.post(PATH, {"email": "b@acme.example"})
    path = "/organizations/acme/audit"

    def subjects(**query: str) -> list[str]:
        return [row["subject"] for row in api.get(path, query).json()["results"]]

    own = key.credential.client_id
    assert subjects() == ["b@acme.example", "a@acme.example", own]
    assert subjects(action="member.added", subject="a@acme.example") == ["a@acme.example"]
    assert subjects(actor=own) == ["b@acme.example", "a@acme.example"]
    newest = api.get(path).json()["results"][0]["at"]
    assert subjects(since=newest) == ["b@acme.example"]
    assert subjects(before=newest) == ["a@acme.example", own]


def test_an_unknown_role_is_refused_on_change(api: APIClient, viewer: User) -> None:
    response = api.patch(f"{PATH}/{viewer.memberships.get().pk}", {"role": "king"})
    assert (response.status_code, list(response.json()["fields"])) == (422, ["role"])


def test_a_role_changed_to_itself_leaves_no_trace(api: APIClient, viewer: User) -> None:
    membership = viewer.memberships.get()
    assert api.patch(f"{PATH}/{membership.pk}", {"role": Role.VIEWER}).status_code == 200
    assert not AuditEntry.objects.filter(action="member.changed").exists()
