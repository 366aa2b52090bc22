"""`/organizations/{slug}/deliveries`"""

from typing import Any

import pytest
from rest_framework.test import APIClient

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.outbox import notify
from billing.notifications.webhooks import create_webhook, disable_webhook, remove_webhook
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack.clock import utc_now
from organizations.models import AuditEntry, Organization, User
from organizations.types import Scope
from tests.conftest import make_key
from tests.usage import NOW

DELIVERIES = "/organizations/acme/deliveries"
URL = "https://93.184.216.34/services/token"


@pytest.fixture
def webhook(organization: Organization) -> WebhookEndpoint:
    return create_webhook(organization=organization, url=URL, actor="tests", now=NOW).webhook


@pytest.fixture
def delivery(organization: Organization, webhook: WebhookEndpoint) -> tuple[Delivery, Delivery]:
    """An email and a webhook message about the same."""
    notice = notify(
        organization=organization, kind=NoticeKind.PAUSED, subject="Paused", data={}, now=NOW, to=["ada@acme.example"]
    )
    return notice.deliveries.get(channel=Channel.EMAIL), notice.deliveries.get(channel=Channel.WEBHOOK)


def ids(client: APIClient, query: str = "") -> list[int]:
    response = client.get(f"{DELIVERIES}?{query}")
    assert response.status_code == 200, response.content
    return [row["id"] for row in response.json()["results"]]


def test_a_delivery_shows_what_became_of_it(api: APIClient, delivery: tuple[Delivery, Delivery]) -> None:
    email, message = delivery
    message.state, message.attempts, message.finished_at = DeliveryState.FAILED, 10, NOW
    message.last_status, message.last_error = 500, "Answered 500: Oops"
    message.save()
    assert api.get(f"{DELIVERIES}/{message.pk}").json() == {
        "id": message.pk,
        "kind": "limit.paused",
        "subject": "Paused",
        "channel": "webhook",
        "recipient": URL,
        "webhook": message.webhook_id,
        "message_id": message.message_id,
        "state": "failed",
        "attempts": 10,
        "created_at": "2026-11-02T12:00:00Z",
        "next_attempt_at": None,
        "finished_at": "2026-11-02T12:00:00Z",
        "last_status": 500,
        "last_error": "Answered 500: Oops",
    }
    pending = api.get(f"{DELIVERIES}/{email.pk}").json()
    assert (pending["recipient"], pending["webhook"]) == ("ada@acme.example", None)
    assert (pending["next_attempt_at"], pending["finished_at"]) == ("2026-11-02T12:00:00Z", None)


def test_the_list_is_paged_with_the_newest_first(
    api: APIClient, organization: Organization, webhook: WebhookEndpoint
) -> None:
    for _ in range(5):
        notify(organization=organization, kind=NoticeKind.PAUSED, subject="Paused", data={}, now=NOW, to=())
    newest_first = list(Delivery.objects.order_by("-pk").values_list("pk", flat=True))
    assert ids(api) == newest_first
    assert ids(api, "page_size=2&page=2") == newest_first[2:4]
    assert api.get(DELIVERIES).json()["count"] == 5


def test_the_list_is_filtered(
    api: APIClient, organization: Organization, delivery: tuple[Delivery, Delivery], webhook: WebhookEndpoint
) -> None:
    email, message = delivery
    other = create_webhook(organization=organization, url=URL, actor="tests", now=NOW).webhook
    later = notify(
        organization=organization, kind=NoticeKind.RESUMED, subject="Back", data={}, now=NOW, to=(), webhooks=[other]
    ).deliveries.get()
    Delivery.objects.filter(pk=later.pk).update(state=DeliveryState.SENT)
    assert ids(api, "channel=email") == [email.pk]
    assert ids(api, "channel=webhook") == [later.pk, message.pk]
    assert ids(api, "state=sent") == [later.pk]
    assert ids(api, "kind=limit.paused") == [message.pk, email.pk]
    assert ids(api, f"webhook={webhook.pk}") == [message.pk]
    assert ids(api, f"webhook={webhook.pk}&state=sent") == []
    assert ids(api, "webhook=99999999999999999999999") == []


@pytest.mark.parametrize(
    "query", ["channel=fax", "state=lost", "kind=limit", "webhook=abc", "webhook=1.5", "webhook=%00", "page=0"]
)
def test_a_filter_that_cannot_be_is_refused(api: APIClient, query: str) -> None:
    assert api.get(f"{DELIVERIES}?{query}").status_code == 422


@pytest.mark.parametrize("state", DeliveryState)
def test_any_delivery_is_sent_again(api: APIClient, delivery: tuple[Delivery, Delivery], state: DeliveryState) -> None:
    message = delivery[1]
    Delivery.objects.filter(pk=message.pk).update(state=state, attempts=9, finished_at=NOW, last_error="Answered 500.")
    before = utc_now()
    response = api.post(f"{DELIVERIES}/{message.pk}/resend")
    assert response.status_code == 200, response.content
    body = response.json()
    assert (body["state"], body["attempts"], body["finished_at"]) == ("pending", 0, None)
    assert body["message_id"] == message.message_id
    message.refresh_from_db()
    assert message.next_attempt_at >= before
    entry = AuditEntry.objects.get(action="delivery.resent")
    assert entry.subject == f"delivery {message.pk}"
    assert "token" not in str(entry.details)


def test_it_is_sent_to_where_the_webhook_is_now(api: APIClient, delivery: tuple[Delivery, Delivery]) -> None:
    message = delivery[1]
    Delivery.objects.update(state=DeliveryState.FAILED)
    WebhookEndpoint.objects.update(url=f"{URL}/new")
    assert api.post(f"{DELIVERIES}/{message.pk}/resend").json()["recipient"] == f"{URL}/new"


def test_nothing_is_sent_again_to_a_webhook_that_is_off(
    api: APIClient, organization: Organization, delivery: tuple[Delivery, Delivery], webhook: WebhookEndpoint
) -> None:
    path = f"{DELIVERIES}/{delivery[1].pk}/resend"
    disable_webhook(organization=organization, webhook=webhook, actor="tests", now=NOW)
    disabled = api.post(path)
    assert (disabled.status_code, disabled.json()["code"]) == (409, "webhook_disabled")
    remove_webhook(organization=organization, webhook=webhook, actor="tests", now=NOW)
    assert api.post(path).status_code == 409
    delivery[1].refresh_from_db()
    assert delivery[1].state == DeliveryState.FAILED


def test_only_those_who_manage_send_again(
    organization: Organization, delivery: tuple[Delivery, Delivery], viewer: User, stranger: User, other_api: APIClient
) -> None:
    path = f"{DELIVERIES}/{delivery[1].pk}/resend"
    browser, foreign = APIClient(), APIClient()
    browser.force_login(viewer)
    foreign.force_login(stranger)
    reader = make_key(organization, Scope.COSTS_READ).client()
    for client, status in ((APIClient(), 401), (browser, 403), (reader, 403), (foreign, 404), (other_api, 404)):
        assert client.post(path).status_code == status
    assert other_api.post(path.replace("acme", "globex")).status_code == 404
    assert not AuditEntry.objects.filter(action="delivery.resent").exists()


def test_those_who_read_costs_see_neither_addresses_nor_paths(
    organization: Organization, delivery: tuple[Delivery, Delivery], viewer: User
) -> None:
    Delivery.objects.update(last_error=f"Answered 404: no route for {URL}")
    browser = APIClient()
    browser.force_login(viewer)
    for client in (browser, make_key(organization, Scope.COSTS_READ).client()):
        rows: list[dict[str, Any]] = client.get(DELIVERIES).json()["results"]
        assert [row["recipient"] for row in rows] == ["https://93.184.216.34/\u2026", "\u2026@acme.example"]
        assert [row["last_error"] for row in rows] == ["", ""]
    assert make_key(organization, Scope.USAGE_WRITE).client().get(DELIVERIES).status_code == 403


def test_another_organizations_delivery_is_as_none(other_api: APIClient, delivery: tuple[Delivery, Delivery]) -> None:
    foreign = other_api.get(f"/organizations/globex/deliveries/{delivery[0].pk}")
    unknown = other_api.get("/organizations/globex/deliveries/999999999")
    assert foreign.status_code == unknown.status_code == 404
    assert foreign.json() == unknown.json()
    assert other_api.get("/organizations/globex/deliveries").json()["results"] == []
