"""A pass over what is due: everything arrives, is tried again, or is given up, and no endpoint holds up another."""

import logging
import threading
from datetime import timedelta

import pytest
from pytest_django import Settings
from standardwebhooks import Webhook

from billing.models import Delivery
from billing.notifications.http_request import Network
from billing.notifications.webhook_sender import deliver_webhooks
from billing.notifications.webhooks import send_test
from billing.types import DeliveryState, NoticeKind
from costtrack.clock import utc_now
from costtrack.mail.sending import CLAIM
from organizations.models import Organization
from tests.billing.notifications.webhooks.conftest import AddWebhook, CreateNotice, delivery_of
from tests.billing.notifications.webhooks.receiver import Receiver, Reply, receiving


def test_what_is_due_arrives_signed(receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice) -> None:
    issued, notice = add_webhook(receiver.url), create_notice()

    assert deliver_webhooks(now=utc_now()) == 1

    (received,) = receiver.received
    assert Webhook(issued.secret).verify(received.body, received.headers)["data"] == {"organization": "acme"}
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("costtrack/")
    delivery = delivery_of(notice)
    assert (delivery.state, delivery.attempts, delivery.last_status) == (DeliveryState.SENT, 1, 204)
    assert (delivery.message_id, delivery.recipient) == (received.message_id, receiver.url)
    assert delivery.finished_at is not None


def test_nothing_arrives_twice(receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice) -> None:
    add_webhook(receiver.url)
    create_notice()
    assert [deliver_webhooks(now=utc_now()) for _ in range(3)] == [1, 0, 0]
    assert len(receiver.received) == 1


def test_exactly_the_endpoints_that_want_a_kind_are_notified(
    receiver: Receiver,
    add_webhook: AddWebhook,
    organization: Organization,
    other_organization: Organization,
    create_notice: CreateNotice,
) -> None:
    subscriptions = {"all": [], "pauses": [NoticeKind.PAUSED, NoticeKind.RESUMED], "disabled": []}
    for name, kinds in {**subscriptions, "requests": [NoticeKind.INCREASE_REQUESTED]}.items():
        webhook = add_webhook(f"{receiver.url}/{name}", kinds=kinds).webhook
        webhook.enabled = name != "disabled"
        webhook.save()
    add_webhook(f"{receiver.url}/globex", to=other_organization)

    for kind in (NoticeKind.PAUSED, NoticeKind.INCREASE_REQUESTED, NoticeKind.THRESHOLD):
        create_notice(kind)
    deliver_webhooks(now=utc_now())

    delivered = sorted((received.path, received.body.split(b'"')[3]) for received in receiver.received)
    assert delivered == [
        ("/hooks/all", b"increase.requested"),
        ("/hooks/all", b"limit.paused"),
        ("/hooks/all", b"limit.threshold_reached"),
        ("/hooks/pauses", b"limit.paused"),
        ("/hooks/requests", b"increase.requested"),
    ]


def test_a_slow_endpoint_delays_no_other(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    released = threading.Event()
    with receiving() as slow:
        slow.default = Reply(after=released)
        add_webhook(slow.url)
        add_webhook(receiver.url)
        for _ in range(30):
            create_notice()

        def release_at_the_end() -> None:
            for _ in range(30):
                assert receiver.came.acquire(timeout=30)
            assert len(slow.received) == 1, "one attempt at a time"
            released.set()

        watcher = threading.Thread(target=release_at_the_end)
        watcher.start()
        deliver_webhooks(now=utc_now())
        watcher.join()
    assert len(receiver.received) == 30
    assert receiver.most_at_once == slow.most_at_once == 1


def test_what_comes_while_somebody_is_slow_is_sent_in_the_same_pass(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    add_webhook(f"{receiver.url}/quick", kinds=[NoticeKind.RESUMED])
    released = threading.Event()
    with receiving() as slow:
        slow.default = Reply(after=released)
        add_webhook(slow.url, kinds=[NoticeKind.PAUSED])
        create_notice()
        later = create_notice(NoticeKind.RESUMED, now=utc_now() + timedelta(seconds=2))

        def release() -> None:
            assert receiver.came.acquire(timeout=30)
            released.set()

        watcher = threading.Thread(target=release)
        watcher.start()
        assert deliver_webhooks(now=utc_now()) == 2
        watcher.join()
    assert delivery_of(later).state == DeliveryState.SENT


def test_a_pass_ends_when_its_time_is_up(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    add_webhook(receiver.url)
    create_notice()
    assert deliver_webhooks(now=utc_now(), seconds=0) == 0
    assert receiver.received == []


def test_private_addresses_are_refused_when_sending(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, settings: Settings
) -> None:
    """Also what was saved while they were allowed, or has another address since."""
    add_webhook(receiver.url)
    add_webhook(receiver.url.replace("http:", "https:"))
    notice = create_notice()
    settings.WEBHOOK_PRIVATE_ADDRESSES = False
    assert deliver_webhooks(now=utc_now()) == 0
    errors = list(notice.deliveries.order_by("pk").values_list("last_error", flat=True))
    assert errors == ["url: Must begin with https://.", "127.0.0.1 is not a public address."]
    assert receiver.received == []


def test_a_secret_that_cannot_be_read_is_said_so(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, settings: Settings
) -> None:
    add_webhook(receiver.url)
    notice = create_notice()
    settings.SECRET_KEY = "another-key-" + "y" * 50
    deliver_webhooks(now=utc_now())
    assert "COSTTRACK_SECRET_KEY" in delivery_of(notice).last_error
    assert receiver.received == []


def test_what_nobody_foresaw_fails_alone(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, caplog: pytest.LogCaptureFixture
) -> None:
    add_webhook("http://broken.example/")
    add_webhook(receiver.url)
    notice = create_notice()

    def resolve(host: str, _port: int) -> list[str]:
        return ["127.0.0.1" if host == "127.0.0.1" else "no address at all"]

    def trust() -> None:
        raise RuntimeError("broken")

    network = Network(resolve=resolve, trust=trust)  # type: ignore[arg-type] # that is what is broken
    assert deliver_webhooks(now=utc_now(), network=network) == 0
    assert {delivery.last_error for delivery in notice.deliveries.all()} == {"Internal error; see the server's log."}
    assert "RuntimeError: broken" in caplog.text


def test_a_test_message_goes_to_one_endpoint_and_is_tried_once(
    receiver: Receiver, add_webhook: AddWebhook, organization: Organization
) -> None:
    tested = add_webhook(f"{receiver.url}/tested", kinds=[NoticeKind.PAUSED])
    add_webhook(f"{receiver.url}/other")
    first = send_test(organization=organization, webhook=tested.webhook, actor="tests", now=utc_now())
    deliver_webhooks(now=utc_now())
    receiver.default = Reply(500)
    second = send_test(organization=organization, webhook=tested.webhook, actor="tests", now=utc_now())
    deliver_webhooks(now=utc_now())

    assert [received.path for received in receiver.received] == ["/hooks/tested", "/hooks/tested"]
    assert Webhook(tested.secret).verify(receiver.received[0].body, receiver.received[0].headers)["type"] == "test"
    for delivery, state in ((first, DeliveryState.SENT), (second, DeliveryState.FAILED)):
        delivery.refresh_from_db()
        assert (delivery.state, delivery.attempts) == (state, 1)


def test_what_a_lost_worker_had_claimed_is_sent_with_the_same_id(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    add_webhook(receiver.url)
    notice, now = create_notice(), utc_now()
    Delivery.objects.update(claimed_until=now + CLAIM)
    create_notice()
    assert deliver_webhooks(now=now) == 0, "somebody works on the endpoint"
    assert deliver_webhooks(now=now + CLAIM) == 2
    assert receiver.received[0].message_id == delivery_of(notice).message_id


def test_secrets_and_urls_are_not_logged(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    issued = add_webhook(f"{receiver.url}/services/T0/B0/tokentoken")
    create_notice()
    receiver.replies.append(Reply(500, body=b"No route for tokentoken"))
    deliver_webhooks(now=utc_now())
    deliver_webhooks(now=utc_now() + timedelta(minutes=1))
    assert len(receiver.received) == 2
    assert "webhook attempt failed" in caplog.text
    logged = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    for secret in (issued.secret, issued.secret.removeprefix("whsec_"), issued.webhook.secret, "tokentoken"):
        assert secret not in logged
