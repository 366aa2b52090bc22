"""`/organizations/{slug}/webhooks`"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.webhook_signatures import decrypt
from billing.notifications.webhooks import MAX_WEBHOOKS
from costtrack.clock import utc_now
from organizations.models import AuditEntry, Organization, User
from organizations.types import Scope
from tests.conftest import make_key

WEBHOOKS = "/organizations/acme/webhooks"
URL = "https://93.184.216.34:8443/services/T0/B0/token"
SHOWN = "https://93.184.216.34:8443/\u2026"


@pytest.fixture
def webhook(api: APIClient) -> dict[str, Any]:
    """As it was shown when it was made."""
    response = api.post(WEBHOOKS, {"url": URL, "description": "On-call"})
    assert response.status_code == 201, response.content
    answer: dict[str, Any] = response.json()
    return answer


def signed_in(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def test_a_new_webhook_is_shown_with_its_secret_once(api: APIClient) -> None:
    response = api.post(WEBHOOKS, {"url": URL, "description": "On-call", "kinds": ["limit.paused"]})
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    body = response.json()
    row = WebhookEndpoint.objects.get()
    assert body.pop("secret") == decrypt(row.secret)
    assert body == {
        "id": row.pk,
        "url": URL,
        "description": "On-call",
        "format": "standard",
        "kinds": ["limit.paused"],
        "enabled": True,
        "disabled_reason": "",
        "failing_since": None,
        "previous_secret_valid_until": None,
        "created_at": body["created_at"],
    }
    assert AuditEntry.objects.get(action="webhook.created").actor.startswith("ct_")
    assert api.get(f"{WEBHOOKS}/{row.pk}").json() == body


def test_no_read_has_a_secret(api: APIClient, webhook: dict[str, Any]) -> None:
    api.post(f"{WEBHOOKS}/{webhook['id']}/rotate", {"grace_seconds": 60})
    row = WebhookEndpoint.objects.get()
    for response in (
        api.get(WEBHOOKS),
        api.get(f"{WEBHOOKS}/{webhook['id']}"),
        api.patch(f"{WEBHOOKS}/{webhook['id']}", {"description": "Other"}),
        api.post(f"{WEBHOOKS}/{webhook['id']}/enable"),
        api.post(f"{WEBHOOKS}/{webhook['id']}/test"),
        api.get("/organizations/acme/deliveries"),
        api.get("/organizations/acme/audit"),
    ):
        text = response.content.decode()
        assert response.status_code < 300, text
        for secret in ("whsec_", webhook["secret"], row.secret, row.previous_secret):
            assert secret not in text


def test_the_list_is_paged_and_filtered(api: APIClient, webhook: dict[str, Any]) -> None:
    second = api.post(WEBHOOKS, {"url": URL, "format": "slack"}).json()
    api.patch(f"{WEBHOOKS}/{second['id']}", {"enabled": False})
    assert [row["id"] for row in api.get(WEBHOOKS).json()["results"]] == [webhook["id"], second["id"]]
    assert [row["id"] for row in api.get(f"{WEBHOOKS}?page_size=1&page=2").json()["results"]] == [second["id"]]
    assert [row["id"] for row in api.get(f"{WEBHOOKS}?enabled=false").json()["results"]] == [second["id"]]
    assert api.get(f"{WEBHOOKS}?enabled=maybe").status_code == 422


def test_what_is_given_is_changed(api: APIClient, webhook: dict[str, Any]) -> None:
    changes = {"url": "https://93.184.216.34/", "description": "", "format": "slack", "kinds": ["limit.resumed"]}
    response = api.patch(f"{WEBHOOKS}/{webhook['id']}", changes)
    assert response.status_code == 200
    assert changes.items() <= response.json().items()


def test_it_is_disabled_and_enabled(api: APIClient, webhook: dict[str, Any]) -> None:
    path = f"{WEBHOOKS}/{webhook['id']}"
    disabled = api.patch(path, {"enabled": False}).json()
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "Disabled manually.")
    assert api.post(f"{path}/enable").json()["enabled"] is True
    api.patch(path, {"enabled": False})
    assert api.patch(path, {"enabled": True}).json()["disabled_reason"] == ""


def test_a_rotation_shows_the_new_secret_once(api: APIClient, webhook: dict[str, Any]) -> None:
    response = api.post(f"{WEBHOOKS}/{webhook['id']}/rotate", {})
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    row = WebhookEndpoint.objects.get()
    assert response.json()["secret"] == decrypt(row.secret) != webhook["secret"]
    assert row.previous_valid_until is not None
    assert timedelta(hours=23) < row.previous_valid_until - utc_now() <= timedelta(hours=24)
    assert response.json()["previous_secret_valid_until"] is not None


def test_a_test_is_a_delivery_to_ask_for(api: APIClient, webhook: dict[str, Any]) -> None:
    response = api.post(f"{WEBHOOKS}/{webhook['id']}/test")
    assert response.status_code == 202
    body = response.json()
    assert (body["kind"], body["state"], body["webhook"], body["recipient"]) == ("test", "pending", webhook["id"], URL)
    assert api.get(f"/organizations/acme/deliveries/{body['id']}").json() == body


def test_a_disabled_webhook_is_not_tested(api: APIClient, webhook: dict[str, Any]) -> None:
    api.patch(f"{WEBHOOKS}/{webhook['id']}", {"enabled": False})
    response = api.post(f"{WEBHOOKS}/{webhook['id']}/test")
    assert (response.status_code, response.json()["code"]) == (409, "webhook_disabled")


def test_a_removed_webhook_is_gone_and_its_deliveries_stay(api: APIClient, webhook: dict[str, Any]) -> None:
    api.post(f"{WEBHOOKS}/{webhook['id']}/test")
    assert api.delete(f"{WEBHOOKS}/{webhook['id']}").status_code == 204
    assert api.get(f"{WEBHOOKS}/{webhook['id']}").status_code == 404
    (delivery,) = api.get("/organizations/acme/deliveries").json()["results"]
    assert (delivery["webhook"], delivery["recipient"], delivery["state"]) == (None, URL, "failed")


def test_there_are_twenty_at_most(api: APIClient, organization: Organization) -> None:
    WebhookEndpoint.objects.bulk_create(
        WebhookEndpoint(organization=organization, url=URL, secret="", created_at=utc_now())
        for _ in range(MAX_WEBHOOKS)
    )
    response = api.post(WEBHOOKS, {"url": URL})
    assert (response.status_code, response.json()["code"]) == (409, "too_many_webhooks")


BAD: list[tuple[Any, str]] = [
    ({}, "url"),
    ({"url": ""}, "url"),
    ({"url": None}, "url"),
    ({"url": 5}, "url"),
    ({"url": "hooks"}, "url"),
    ({"url": "http://93.184.216.34/"}, "url"),
    ({"url": "https://127.1/"}, "url"),
    ({"url": "https://[::ffff:127.0.0.1]/"}, "url"),
    ({"url": "https://localhost/"}, "url"),
    ({"url": "https://ada:pass@93.184.216.34/"}, "url"),
    ({"url": "https://93.184.216.34:25/"}, "url"),
    ({"url": f"{URL}/{'a' * 500}"}, "url"),
    ({"url": f"{URL}\x00"}, "url"),
    ({"url": URL, "description": "a" * 121}, "description"),
    ({"url": URL, "description": "a\x00"}, "description"),
    ({"url": URL, "format": "xml"}, "format"),
    ({"url": URL, "kinds": "limit.paused"}, "kinds"),
    ({"url": URL, "kinds": ["test"]}, "kinds.0"),
    ({"url": URL, "kinds": [None]}, "kinds.0"),
    ({"url": URL, "secret": "whsec_mine"}, "secret"),
    ({"url": URL, "enabled": False}, "enabled"),
]


@pytest.mark.parametrize(("body", "field"), BAD)
def test_what_cannot_be_is_refused_by_name(api: APIClient, body: dict[str, Any], field: str) -> None:
    response = api.post(WEBHOOKS, body)
    assert response.status_code == 422, response.content
    assert field in response.json()["fields"]
    assert not WebhookEndpoint.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [*((body, field) for body, field in BAD[1:] if len(body) == 1), ({"enabled": "perhaps"}, "enabled")],
)
def test_what_cannot_be_changed_is_refused_by_name(
    api: APIClient, webhook: dict[str, Any], body: dict[str, Any], field: str
) -> None:
    response = api.patch(f"{WEBHOOKS}/{webhook['id']}", body)
    assert response.status_code == 422, response.content
    assert field in response.json()["fields"]
    assert WebhookEndpoint.objects.get().url == URL


@pytest.mark.parametrize("grace", [-1, 30 * 86_400 + 1, "long", None, 1.5])
def test_a_grace_that_cannot_be_is_refused(api: APIClient, webhook: dict[str, Any], grace: object) -> None:
    response = api.post(f"{WEBHOOKS}/{webhook['id']}/rotate", {"grace_seconds": grace})
    assert response.status_code == 422
    assert decrypt(WebhookEndpoint.objects.get().secret) == webhook["secret"]


def test_private_addresses_may_be_allowed(api: APIClient, settings: Settings) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True
    assert api.post(WEBHOOKS, {"url": "http://10.0.0.7:80/"}).status_code == 201


CHANGES: list[Callable[[APIClient, str], Any]] = [
    lambda client, _path: client.post(WEBHOOKS, {"url": URL}),
    lambda client, path: client.patch(path, {"description": "mine"}),
    lambda client, path: client.delete(path),
    lambda client, path: client.post(f"{path}/rotate", {"grace_seconds": 0}),
    lambda client, path: client.post(f"{path}/enable"),
    lambda client, path: client.post(f"{path}/test"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_only_those_who_manage_change_anything(
    webhook: dict[str, Any],
    organization: Organization,
    viewer: User,
    stranger: User,
    other_api: APIClient,
    change: Callable[[APIClient, str], Any],
) -> None:
    before = list(WebhookEndpoint.objects.values())
    path = f"{WEBHOOKS}/{webhook['id']}"
    reader = make_key(organization, Scope.COSTS_READ, Scope.USAGE_WRITE).client()
    for client, status in (
        (APIClient(), 401),
        (signed_in(viewer), 403),
        (reader, 403),
        (signed_in(stranger), 404),
        (other_api, 404),
    ):
        assert change(client, path).status_code == status
    foreign = path.replace("acme", "globex")
    if change is not CHANGES[0]:
        assert change(other_api, foreign).status_code == 404
    assert list(WebhookEndpoint.objects.values()) == before
    assert not Delivery.objects.exists()


def test_owners_manage_webhooks_in_the_browser(owner: User, webhook: dict[str, Any]) -> None:
    client = signed_in(owner)
    assert client.get(f"{WEBHOOKS}/{webhook['id']}").json()["url"] == URL
    assert client.post(WEBHOOKS, {"url": URL}).status_code == 201


def test_those_who_read_costs_see_webhooks_without_their_paths(
    webhook: dict[str, Any], organization: Organization, viewer: User
) -> None:
    """To know the URL may be all that it takes to post to somebody's channel."""
    for client in (signed_in(viewer), make_key(organization, Scope.COSTS_READ).client()):
        (listed,) = client.get(WEBHOOKS).json()["results"]
        assert listed["url"] == client.get(f"{WEBHOOKS}/{webhook['id']}").json()["url"] == SHOWN
    assert make_key(organization, Scope.USAGE_WRITE).client().get(WEBHOOKS).status_code == 403


def test_an_unknown_webhook_and_a_foreign_one_answer_alike(other_api: APIClient, webhook: dict[str, Any]) -> None:
    foreign = other_api.get(f"/organizations/globex/webhooks/{webhook['id']}")
    unknown = other_api.get("/organizations/globex/webhooks/999999999")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() == unknown.json()
