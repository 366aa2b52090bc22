"""What fails is tried again: by the schedule, or when the endpoint asks for it."""

import threading
from datetime import datetime, timedelta

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from billing.notifications.http_request import Network, parse_retry_after
from billing.notifications.webhook_sender import deliver_webhooks
from billing.tasks import deliver_webhooks_task
from billing.types import DeliveryState
from costtrack.celery import app
from costtrack.clock import utc_now
from costtrack.mail.sending import BACKOFF
from tests.billing.notifications.webhooks.conftest import AddWebhook, CreateNotice, delivery_of
from tests.billing.notifications.webhooks.receiver import Receiver, Reply
from tests.usage import NOW


def near(moment: datetime | None, expected: datetime, within: timedelta = timedelta(seconds=5)) -> bool:
    return moment is not None and abs(moment - expected) <= within


@pytest.mark.parametrize("reply", [Reply(500), Reply(400), Reply(404), Reply(302, {"Location": "/"}), Reply(199)])
def test_an_attempt_that_fails_is_repeated_by_the_schedule(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, reply: Reply
) -> None:
    add_webhook(receiver.url)
    notice, receiver.default = create_notice(), reply
    now = utc_now()
    for attempt, pause in enumerate(BACKOFF, start=1):
        assert deliver_webhooks(now=now) == 0
        delivery = delivery_of(notice)
        assert (delivery.state, delivery.attempts) == (DeliveryState.PENDING, attempt)
        assert near(delivery.next_attempt_at, now + pause, pause * 0.11 + timedelta(seconds=5))
        assert deliver_webhooks(now=now) == 0, "not before it is due"
        now = delivery.next_attempt_at
    deliver_webhooks(now=now)

    delivery = delivery_of(notice)
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, len(BACKOFF) + 1)
    assert len({received.message_id for received in receiver.received}) == 1
    assert len({received.body for received in receiver.received}) == 1
    assert len(receiver.received) == len(BACKOFF) + 1


def test_the_first_retry_has_a_task_of_its_own_instead_of_the_next_sweep(
    receiver: Receiver,
    add_webhook: AddWebhook,
    create_notice: CreateNotice,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    sent: list[tuple[str, float]] = []
    monkeypatch.setattr(app, "send_task", lambda name, *, countdown, **_: sent.append((name, countdown)))
    add_webhook(receiver.url)
    notice, receiver.default = create_notice(), Reply(500)
    with django_capture_on_commit_callbacks(execute=True):
        deliver_webhooks_task()

    ((name, countdown),) = sent
    assert name == "billing.deliver_webhooks"
    assert timedelta(0) <= utc_now() + timedelta(seconds=countdown) - delivery_of(notice).next_attempt_at
    assert countdown <= BACKOFF[0].total_seconds() * 1.1 + 1

    with django_capture_on_commit_callbacks(execute=True):
        deliver_webhooks_task()
    assert len(sent) == 1, "one task for each second"


def test_a_redirect_is_a_failure_that_says_so(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    add_webhook(receiver.url)
    notice, receiver.default = create_notice(), Reply(301, {"Location": f"{receiver.url}/new"})
    deliver_webhooks(now=utc_now())
    assert delivery_of(notice).last_error == "Answered 301; redirects are not followed."
    assert [received.path for received in receiver.received] == ["/hooks"]


def test_the_log_has_what_was_answered(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    add_webhook(receiver.url)
    notice, receiver.default = create_notice(), Reply(400, body=b"invalid_blocks\x00")
    deliver_webhooks(now=utc_now())
    delivery = delivery_of(notice)
    assert (delivery.last_status, delivery.last_error) == (400, "Answered 400: invalid_blocks")


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_endpoint_that_asks_to_wait_is_waited_for_with_everything(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, status: int
) -> None:
    add_webhook(receiver.url)
    notices, receiver.default = [create_notice(), create_notice()], Reply(status, {"Retry-After": "7200"})
    now = utc_now()
    deliver_webhooks(now=now)
    assert len(receiver.received) == 1
    for notice in notices:
        assert near(delivery_of(notice).next_attempt_at, now + timedelta(hours=2))


def test_an_endpoint_that_requests_too_long_a_wait_is_retried_a_day_later(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    add_webhook(receiver.url)
    notice, receiver.default = create_notice(), Reply(429, {"Retry-After": "99999999999999999999"})
    now = utc_now()
    deliver_webhooks(now=now)
    assert near(delivery_of(notice).next_attempt_at, now + timedelta(hours=24))


@pytest.mark.parametrize("status", [500, 404])
def test_other_failures_do_not_choose_when(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice, status: int
) -> None:
    add_webhook(receiver.url)
    notice, receiver.default = create_notice(), Reply(status, {"Retry-After": "7200"})
    now = utc_now()
    deliver_webhooks(now=now)
    assert near(delivery_of(notice).next_attempt_at, now + BACKOFF[0])


def test_an_endpoint_that_has_failed_is_left_to_the_next_pass(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    add_webhook(receiver.url)
    receiver.replies.append(Reply(500))
    create_notice()
    create_notice()
    assert deliver_webhooks(now=utc_now()) == 0
    assert len(receiver.received) == 1
    assert deliver_webhooks(now=utc_now() + timedelta(seconds=10)) == 2


def test_a_slow_answer_is_a_failed_attempt(
    receiver: Receiver, add_webhook: AddWebhook, create_notice: CreateNotice
) -> None:
    add_webhook(receiver.url)
    never = threading.Event()
    notice, receiver.default = create_notice(), Reply(after=never)
    deliver_webhooks(now=utc_now(), network=Network(timeout_seconds=0.2))
    never.set()
    delivery = delivery_of(notice)
    assert (delivery.last_status, delivery.last_error) == (None, "No response within 0.2 seconds.")
    assert delivery.state == DeliveryState.PENDING


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("120", timedelta(minutes=2)),
        (" 1 ", timedelta(seconds=1)),
        ("Mon, 02 Nov 2026 12:05:00 GMT", timedelta(minutes=5)),
        ("Mon, 02 Nov 2026 14:05:00 +0200", timedelta(minutes=5)),
        ("86401", timedelta(days=1)),
        ("Fri, 02 Nov 2035 12:00:00 GMT", timedelta(days=1)),
        *((header, None) for header in ("", "0", "-5", "1.5", "soon", "\u0663", "Mon, 02 Nov 2026 11:59:59 GMT")),
        ("Mon, 02 Nov 2026 12:05:00 -0000", None),
        ("Mon, 99 Nov 2026 12:05:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, wait: timedelta | None) -> None:
    assert parse_retry_after(header, now=NOW) == wait
