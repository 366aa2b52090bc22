"""Which deliveries are tried next."""

from datetime import timedelta

import pytest

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.deliveries import claim_one_per_endpoint
from billing.notifications.outbox import notify
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack.mail.sending import CLAIM
from organizations.models import Organization
from tests.billing.notifications.webhooks.conftest import AddWebhook, CreateNotice
from tests.usage import NOW

pytestmark = pytest.mark.usefixtures("loopback")


@pytest.fixture
def endpoints(add_webhook: AddWebhook) -> list[WebhookEndpoint]:
    return [add_webhook(f"http://127.0.0.1:8080/{number}").webhook for number in range(3)]


def claimed(
    max_endpoints: int = 10, exclude: tuple[int, ...] = (), later: timedelta = timedelta(0)
) -> list[int | None]:
    """The endpoints of what is claimed."""
    return [
        delivery.webhook_id
        for delivery in claim_one_per_endpoint(now=NOW + later, max_endpoints=max_endpoints, exclude=exclude)
    ]


def test_each_endpoint_gets_its_oldest_delivery(endpoints: list[WebhookEndpoint], create_notice: CreateNotice) -> None:
    first = create_notice(now=NOW - timedelta(minutes=2))
    create_notice(now=NOW - timedelta(minutes=1))
    deliveries = claim_one_per_endpoint(now=NOW, max_endpoints=10)
    assert [delivery.webhook for delivery in deliveries] == endpoints
    assert {delivery.notice for delivery in deliveries} == {first}
    rows = Delivery.objects.exclude(claimed_until=None)
    assert {(row.notice, row.claimed_until) for row in rows} == {(first, NOW + CLAIM)}


def test_an_endpoint_that_a_worker_has_claimed_is_left_out(
    endpoints: list[WebhookEndpoint], create_notice: CreateNotice
) -> None:
    create_notice(now=NOW)
    create_notice(now=NOW)
    assert len(claimed(max_endpoints=2)) == 2
    assert claimed() == [endpoints[2].pk]
    assert claimed() == []
    assert len(claimed(later=CLAIM)) == 3, "what lost workers had is free again"


def test_some_can_be_left_out(endpoints: list[WebhookEndpoint], create_notice: CreateNotice) -> None:
    create_notice(now=NOW)
    assert claimed(exclude=(endpoints[0].pk, endpoints[2].pk)) == [endpoints[1].pk]


def test_endpoints_that_have_failed_wait_behind_the_others(
    endpoints: list[WebhookEndpoint], create_notice: CreateNotice
) -> None:
    create_notice(now=NOW)
    WebhookEndpoint.objects.filter(pk=endpoints[0].pk).update(failing_since=NOW - timedelta(hours=1))
    assert [claimed(max_endpoints=1) for _ in range(3)] == [[endpoints[1].pk], [endpoints[2].pk], [endpoints[0].pk]]


def test_the_endpoint_with_the_oldest_delivery_goes_first(
    organization: Organization, endpoints: list[WebhookEndpoint]
) -> None:
    for age, webhook in enumerate(endpoints):
        notify(
            organization=organization,
            kind=NoticeKind.PAUSED,
            subject="Paused",
            data={},
            now=NOW - timedelta(minutes=age),
            to=(),
            webhooks=[webhook],
        )
    assert [claimed(max_endpoints=1) for _ in range(3)] == [[webhook.pk] for webhook in reversed(endpoints)]


def test_only_what_is_due_and_can_be_sent_is_claimed(
    endpoints: list[WebhookEndpoint], create_notice: CreateNotice
) -> None:
    early, disabled, sent = endpoints
    notice = create_notice(now=NOW)
    notice.deliveries.filter(webhook=early).update(next_attempt_at=NOW + timedelta(seconds=1))
    WebhookEndpoint.objects.filter(pk=disabled.pk).update(enabled=False)
    notice.deliveries.filter(webhook=sent).update(state=DeliveryState.SENT)
    notify(
        organization=notice.organization,
        kind=NoticeKind.PAUSED,
        subject="Paused",
        data={},
        now=NOW,
        to=["ada@acme.example"],
        webhooks=[],
    )
    assert claimed() == []
    assert claimed(later=timedelta(seconds=1)) == [early.pk]
    assert Delivery.objects.get(channel=Channel.EMAIL).claimed_until is None
