"""An endpoint that is gone, or that nothing reaches for days, is disabled, and people are notified."""

from datetime import datetime, timedelta

import pytest

from billing.models import Notice, WebhookEndpoint
from billing.notifications.deliveries import claim_one_per_endpoint
from billing.notifications.http_request import HTTPResponse
from billing.notifications.webhook_sender import DISABLED_AFTER, deliver_webhooks, record_response
from billing.notifications.webhooks import enable_webhook, remove_webhook, send_test
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack.clock import utc_now
from costtrack.date_text import utc_text
from costtrack.mail.sending import BACKOFF
from organizations.models import AuditEntry, Organization, User
from tests.billing.notifications.webhooks.conftest import AddWebhook, CreateNotice, delivery_of
from tests.billing.notifications.webhooks.receiver import Receiver, Reply


def try_all_attempts(notice: Notice) -> datetime:
    """Until the delivery is given up; when that was."""
    now = utc_now()
    for _ in range(len(BACKOFF) + 1):
        now = max(now, delivery_of(notice).next_attempt_at)
        deliver_webhooks(now=now)
    return now


def failing_since(webhook: WebhookEndpoint) -> datetime | None:
    webhook.refresh_from_db()
    return webhook.failing_since


def test_an_endpoint_that_says_it_is_gone_is_disabled_at_once(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, owner: User
) -> None:
    webhook = add_webhook(f"{receiver.url}/secret-path", description="On-call").webhook
    receiver.default = Reply(410)
    notices = [create_notice(), create_notice()]
    deliver_webhooks(now=utc_now())

    webhook.refresh_from_db()
    assert (webhook.enabled, webhook.disabled_reason) == (False, "The endpoint responded with 410 (Gone).")
    assert [delivery_of(notice).state for notice in notices] == [DeliveryState.FAILED] * 2
    assert delivery_of(notices[1]).last_error == "The webhook was disabled."
    assert len(receiver.received) == 1
    entry = AuditEntry.objects.get(action="webhook.disabled")
    assert (entry.actor, entry.subject) == ("system", f"webhook {webhook.pk}")


def test_owners_are_notified_by_mail_and_other_webhooks_too(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, owner: User, viewer: User
) -> None:
    gone = add_webhook(f"{receiver.url}/secret-path", description="On-call", kinds=[NoticeKind.PAUSED]).webhook
    add_webhook(f"{receiver.url}/other", kinds=[NoticeKind.WEBHOOK_DISABLED])
    receiver.replies.append(Reply(410))
    create_notice()
    deliver_webhooks(now=utc_now())

    notice = Notice.objects.get(kind=NoticeKind.WEBHOOK_DISABLED)
    assert notice.subject == "Webhook disabled: On-call"
    assert notice.data == {
        "organization": "acme",
        "webhook": {"id": gone.pk, "url": f"http://127.0.0.1:{receiver.port}/\u2026", "description": "On-call"},
        "reason": "The endpoint responded with 410 (Gone).",
    }
    recipients = set(notice.deliveries.values_list("channel", "recipient"))
    assert recipients == {(Channel.EMAIL, owner.email), (Channel.WEBHOOK, f"{receiver.url}/other")}
    assert [received.path for received in receiver.received] == ["/hooks/secret-path", "/hooks/other"]


def test_after_days_of_nothing_but_failure_an_endpoint_is_disabled(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, owner: User
) -> None:
    webhook = add_webhook(receiver.url).webhook
    receiver.default = Reply(500, body=b"Oops")
    began = utc_now()
    given_up_at = try_all_attempts(create_notice())

    webhook.refresh_from_db()
    assert not webhook.enabled
    assert webhook.disabled_reason == f"No message was delivered since {utc_text(began)}. Answered 500: Oops"
    assert DISABLED_AFTER < given_up_at - began < timedelta(days=3, hours=6)
    assert len(receiver.received) == len(BACKOFF) + 1
    assert Notice.objects.filter(kind=NoticeKind.WEBHOOK_DISABLED).count() == 1


def test_until_a_message_is_given_up_the_endpoint_stays_enabled(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    """However long it has failed: a message that is weeks away from the last one has all its attempts, too."""
    webhook = add_webhook(receiver.url).webhook
    webhook.failing_since = utc_now() - timedelta(days=30)
    webhook.save()
    receiver.default = Reply(500)
    create_notice()
    deliver_webhooks(now=utc_now())
    webhook.refresh_from_db()
    assert webhook.enabled


def test_one_message_that_arrives_shows_that_the_endpoint_works(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    webhook = add_webhook(receiver.url).webhook
    refused = create_notice(now=utc_now())
    receiver.default = Reply(400)
    began = now = utc_now()
    for _ in range(len(BACKOFF)):
        now = max(now, delivery_of(refused).next_attempt_at)
        deliver_webhooks(now=now)
    since = failing_since(webhook)
    assert since is not None
    assert began <= since < began + timedelta(minutes=1)

    receiver.replies.append(Reply(200))
    create_notice(now=now)
    deliver_webhooks(now=now)
    assert failing_since(webhook) is None

    deliver_webhooks(now=delivery_of(refused).next_attempt_at)
    webhook.refresh_from_db()
    assert delivery_of(refused).state == DeliveryState.FAILED
    assert webhook.enabled


def test_a_test_that_fails_disables_nothing(
    receiver: Receiver, add_webhook: AddWebhook, organization: Organization
) -> None:
    webhook = add_webhook(receiver.url).webhook
    webhook.failing_since = utc_now() - timedelta(days=30)
    webhook.save()
    receiver.default = Reply(500)
    send_test(organization=organization, webhook=webhook, actor="tests", now=utc_now())
    deliver_webhooks(now=utc_now())
    webhook.refresh_from_db()
    assert webhook.enabled


def test_enabled_again_it_is_notified_of_what_happens_from_then_on(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, organization: Organization
) -> None:
    webhook = add_webhook(receiver.url).webhook
    receiver.replies.append(Reply(410))
    missed = [create_notice()]
    deliver_webhooks(now=utc_now())
    missed.append(create_notice())

    enable_webhook(organization=organization, webhook=webhook, actor="owner@acme.example")
    later = create_notice()
    assert deliver_webhooks(now=utc_now()) == 1

    webhook.refresh_from_db()
    assert (webhook.enabled, webhook.disabled_reason, webhook.failing_since) == (True, "", None)
    assert delivery_of(later).state == DeliveryState.SENT
    assert delivery_of(missed[0]).state == DeliveryState.FAILED
    assert missed[1].deliveries.count() == 0


@pytest.mark.parametrize(("status", "state"), [(200, DeliveryState.SENT), (500, DeliveryState.FAILED)])
def test_a_webhook_may_be_removed_during_an_attempt(
    add_webhook: AddWebhook,
    create_notice: CreateNotice,
    organization: Organization,
    loopback: None,
    status: int,
    state: DeliveryState,
) -> None:
    webhook = add_webhook("http://127.0.0.1:8080/").webhook
    notice = create_notice()
    (delivery,) = claim_one_per_endpoint(now=utc_now(), max_endpoints=1)
    remove_webhook(organization=organization, webhook=webhook, actor="tests", now=utc_now())
    record_response(delivery, HTTPResponse(status, b"", False, ""), now=utc_now())
    assert delivery_of(notice).state == state
