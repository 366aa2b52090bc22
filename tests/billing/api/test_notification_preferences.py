"""`/organizations/{slug}/notification-preferences`: a member's own, in a session."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from organizations.models import AuditEntry, Organization, User
from tests.billing.notifications.factories import create_notice

PATH = "/organizations/acme/notification-preferences"
ALL = {"warnings": True, "pauses": True, "requests": True, "usage": True, "webhooks": True}


def client(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def test_everything_is_sent_until_a_preference_says_otherwise(owner: User, viewer: User) -> None:
    assert client(owner).get(PATH).json() == ALL
    assert client(viewer).get(PATH).json() == ALL


def test_a_member_turns_a_category_off_for_themselves(owner: User, viewer: User, organization: Organization) -> None:
    response = client(owner).patch(PATH, {"pauses": False})
    assert (response.status_code, response.json()) == (200, {**ALL, "pauses": False})
    assert client(owner).get(PATH).json() == {**ALL, "pauses": False}
    assert client(viewer).get(PATH).json() == ALL
    assert not create_notice(organization).deliveries.exists()
    entry = AuditEntry.objects.get(action="notification_preference.changed")
    assert (entry.actor, entry.subject, entry.details) == (owner.email, owner.email, {"pauses": "off"})


def test_what_is_not_named_stays(viewer: User) -> None:
    client(viewer).patch(PATH, {"pauses": False, "requests": False})
    assert client(viewer).patch(PATH, {"pauses": True}).json() == {**ALL, "requests": False}


@pytest.mark.parametrize(
    ("body", "field"),
    [({"pauses": "perhaps"}, "pauses"), ({"pauses": None}, "pauses"), ({"news": True}, "news"), ([], None), ({}, None)],
)
def test_a_wrong_body_is_refused_and_changes_nothing(body: Any, field: str | None, owner: User) -> None:
    response = client(owner).patch(PATH, body)
    assert response.status_code == 422
    assert field is None or set(response.json()["fields"]) == {field}
    assert client(owner).get(PATH).json() == ALL


def test_credentials_and_operators_have_no_preferences(
    api: APIClient, operator_api: APIClient, operator: User, organization: Organization
) -> None:
    for caller in (api, operator_api, client(operator)):
        for response in (caller.get(PATH), caller.patch(PATH, {"pauses": False})):
            assert (response.status_code, response.json()["code"]) == (403, "members_only")


def test_strangers_and_unauthenticated_requests_get_nothing(stranger: User, organization: Organization) -> None:
    assert client(stranger).get(PATH).status_code == 404
    assert APIClient().get(PATH).status_code == 401
