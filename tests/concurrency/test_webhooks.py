"""Webhooks while workers run side by side, and while they are killed."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connections, transaction
from pytest_django import Settings
from standardwebhooks import Webhook

from billing.models import Delivery, Notice, WebhookEndpoint
from billing.notifications.deliveries import claim_one_per_endpoint
from billing.notifications.http_request import HTTPResponse
from billing.notifications.outbox import notify
from billing.notifications.webhook_sender import deliver_webhooks, record_response
from billing.notifications.webhooks import MAX_WEBHOOKS, create_webhook
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack.clock import utc_now
from costtrack.errors import ConflictError
from costtrack.mail.sending import CLAIM
from organizations.models import AuditEntry, Organization
from tests.billing.notifications.webhooks.receiver import Reply, receiving
from tests.concurrency.conftest import run_concurrently
from tests.concurrency.workers import blocked_queries, wait_until, workers_of
from tests.preloaded import Preloaded

pytestmark = pytest.mark.django_db(transaction=True)

_URL = "http://127.0.0.1:8080/"


@pytest.fixture(autouse=True)
def _loopback(settings: Settings) -> None:
    settings.WEBHOOK_PRIVATE_ADDRESSES = True


def send_notices(organization: Organization, times: int = 1) -> None:
    for _ in range(times):
        notify(organization=organization, kind=NoticeKind.PAUSED, subject="Paused", data={}, now=utc_now(), to=())


def test_workers_side_by_side_send_everything_once(organization: Organization) -> None:
    with receiving() as first, receiving() as second:
        for receiver in (first, second):
            create_webhook(organization=organization, url=receiver.url, actor="tests", now=utc_now())
        send_notices(organization, times=40)

        now = utc_now()
        arrived = sum(run_concurrently(lambda _: deliver_webhooks(now=now), range(4)))
        # A worker that finds everything taken ends; what it might have had is left for the next one.
        arrived += deliver_webhooks(now=utc_now())

        assert arrived == 80
        for receiver in (first, second):
            assert len(receiver.received) == 40
            assert set(Counter(received.message_id for received in receiver.received).values()) == {1}
            assert receiver.most_at_once == 1
    assert set(Delivery.objects.values_list("state", "attempts")) == {(DeliveryState.SENT, 1)}


def test_what_a_killed_worker_was_sending_comes_again_with_the_same_id(
    organization: Organization, preloaded: Preloaded, tmp_path: Path
) -> None:
    settings = {"WEBHOOK_PRIVATE_ADDRESSES": True}
    with receiving() as receiver, workers_of(preloaded, "webhooks", tmp_path / "workers.log", **settings) as workers:
        issued = create_webhook(organization=organization, url=receiver.url, actor="tests", now=utc_now())
        send_notices(organization, times=2)
        never = threading.Event()
        receiver.replies.append(Reply(after=never))
        workers.start()
        assert receiver.came.acquire(timeout=60)
        workers.kill()
        never.set()

        assert deliver_webhooks(now=utc_now()) == 0, "nobody knows yet that the worker is gone"
        assert deliver_webhooks(now=utc_now() + CLAIM) == 2

        killed, *after = receiver.received
        assert len(after) == 2
        (again,) = (received for received in after if received.message_id == killed.message_id)
        assert again.body == killed.body
        assert Webhook(issued.secret).verify(killed.body, killed.headers)
    assert set(Delivery.objects.values_list("state", flat=True)) == {DeliveryState.SENT}


def record_gone(delivery: Delivery) -> None:
    record_response(delivery, HTTPResponse(410, b"", False, ""), now=utc_now())


def test_an_endpoint_that_is_being_disabled_holds_no_lock_that_a_notice_to_all_needs(
    organization: Organization,
) -> None:
    first, second = (
        create_webhook(organization=organization, url=_URL, actor="tests", now=utc_now()).webhook for _ in range(2)
    )
    send_notices(organization)
    claimed = claim_one_per_endpoint(now=utc_now(), max_endpoints=2)
    (to_second,) = (delivery for delivery in claimed if delivery.webhook_id == second.pk)

    def disable() -> None:
        try:
            record_gone(to_second)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():  # as `notify`, which locks the endpoints one after another
            WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=first.pk)
            result = pool.submit(disable)
            wait_until(lambda: blocked_queries(1))
            WebhookEndpoint.objects.select_for_update(no_key=True, nowait=True).get(pk=second.pk)
        result.result()

    assert list(WebhookEndpoint.objects.filter(enabled=True)) == [first]


def test_endpoints_that_are_disabled_at_once_have_a_notice_and_an_audit_entry_each(
    organization: Organization,
) -> None:
    for _ in range(4):
        create_webhook(organization=organization, url=_URL, actor="tests", now=utc_now())
    send_notices(organization)

    run_concurrently(record_gone, claim_one_per_endpoint(now=utc_now(), max_endpoints=4))

    disabled = WebhookEndpoint.objects.filter(enabled=False).values_list("pk", flat=True)
    notices = Notice.objects.filter(kind=NoticeKind.WEBHOOK_DISABLED)
    entries = AuditEntry.objects.filter(action="webhook.disabled")
    assert len(disabled) == 4
    assert sorted(notice.data["webhook"]["id"] for notice in notices) == sorted(disabled)
    assert sorted(entry.subject for entry in entries) == sorted(f"webhook {pk}" for pk in disabled)
    assert not Delivery.objects.filter(channel=Channel.WEBHOOK, state=DeliveryState.PENDING).exists()


def test_an_organization_never_has_more_webhooks_than_it_may(organization: Organization) -> None:
    for _ in range(MAX_WEBHOOKS - 2):
        create_webhook(organization=organization, url=_URL, actor="tests", now=utc_now())

    def create(_: int) -> bool:
        try:
            create_webhook(organization=organization, url=_URL, actor="tests", now=utc_now())
        except ConflictError:
            return False
        return True

    assert sorted(run_concurrently(create, range(6))) == [False] * 4 + [True] * 2
    assert WebhookEndpoint.objects.count() == MAX_WEBHOOKS
