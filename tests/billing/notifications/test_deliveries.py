"""Deliveries are claimed, tried, tried again later, given up, and sent again when somebody asks."""

from datetime import timedelta

import pytest
from django.db import connections, transaction

from billing.models import Delivery, WebhookEndpoint
from billing.notifications.deliveries import (
    claim,
    failed,
    is_due,
    postpone,
    release_claim,
    resend,
    succeeded,
)
from billing.notifications.webhooks import remove_webhook
from billing.types import Channel, DeliveryState
from costtrack.errors import ConflictError, NotFoundError
from costtrack.mail.sending import BACKOFF, CLAIM, retry_delay_after
from organizations.models import AuditEntry, Organization
from tests.billing.notifications.factories import create_notice
from tests.concurrency.conftest import run_concurrently
from tests.usage import NOW

SECOND = timedelta(seconds=1)


@pytest.fixture
def delivery(organization: Organization) -> Delivery:
    return create_notice(organization, to=["ada@acme.example"]).deliveries.get()


def claim_one(now: object = NOW) -> Delivery:
    (delivery,) = claim(channel=Channel.EMAIL, now=now, limit=1)  # type: ignore[arg-type]  # NOW or later
    return delivery


def test_what_is_due_is_claimed_once_those_that_wait_longest_first(organization: Organization) -> None:
    later = create_notice(organization, to=["b@acme.example"], now=NOW).deliveries.get()
    first = create_notice(organization, to=["a@acme.example"], now=NOW - SECOND).deliveries.get()
    create_notice(organization, to=["c@acme.example"], now=NOW + SECOND)
    assert is_due(channel=Channel.EMAIL, now=NOW)
    assert claim(channel=Channel.EMAIL, now=NOW, limit=1) == [first]
    assert claim(channel=Channel.EMAIL, now=NOW, limit=9) == [later]
    assert claim(channel=Channel.EMAIL, now=NOW, limit=9) == []
    assert not is_due(channel=Channel.EMAIL, now=NOW)


@pytest.mark.usefixtures("delivery")
def test_a_channel_takes_its_own_deliveries(organization: Organization) -> None:
    assert claim(channel=Channel.WEBHOOK, now=NOW, limit=9) == []
    assert claim_one().organization == organization


@pytest.mark.usefixtures("delivery")
def test_a_lost_workers_claim_runs_out_and_another_takes_it() -> None:
    lost = claim_one()
    assert claim(channel=Channel.EMAIL, now=NOW + CLAIM - SECOND, limit=1) == []
    assert claim_one(NOW + CLAIM) == lost


def test_a_claim_lasts_longer_than_any_task_that_sends() -> None:
    from costtrack.queues import time_limit_of

    assert all(
        time_limit_of(name) < CLAIM.total_seconds() for name in ("billing.deliver_email", "billing.deliver_webhooks")
    )


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_the_same_moment_get_different_ones_without_a_lock(
    organization: Organization,
) -> None:
    create_notice(organization, to=[f"{number}@acme.example" for number in range(40)])
    shares = run_concurrently(lambda _: claim(channel=Channel.EMAIL, now=NOW, limit=10), range(4))
    taken = [delivery.pk for share in shares for delivery in share]
    assert len(taken) == len(set(taken))
    with transaction.atomic():
        Delivery.objects.select_for_update().first()  # somebody looks at one of them
        (rest,) = run_concurrently(lambda _: claim(channel=Channel.EMAIL, now=NOW + CLAIM, limit=50), [0])
    assert len(rest) == 39
    connections.close_all()


@pytest.mark.usefixtures("delivery")
def test_what_has_arrived_is_sent_and_stays_so() -> None:
    delivery = claim_one()
    succeeded(delivery, status=250, now=NOW + SECOND)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.last_status) == (DeliveryState.SENT, 1, 250)
    assert (delivery.finished_at, delivery.claimed_until) == (NOW + SECOND, None)
    assert claim(channel=Channel.EMAIL, now=NOW + timedelta(days=9), limit=1) == []


def test_each_failure_is_retried_later_until_it_fails_permanently(delivery: Delivery) -> None:
    now = NOW
    for number, wait in enumerate(BACKOFF, start=1):
        assert not failed(claim_one(now), error="Busy.", status=451, now=now)
        delivery.refresh_from_db()
        assert (delivery.attempts, delivery.state, delivery.last_status) == (number, DeliveryState.PENDING, 451)
        assert 0.9 * wait <= delivery.next_attempt_at - now <= 1.1 * wait
        now = delivery.next_attempt_at
    assert failed(claim_one(now), error="Busy.", status=451, now=now)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.finished_at, delivery.last_error) == (DeliveryState.FAILED, now, "Busy.")
    assert now - NOW > timedelta(days=2)


def test_what_cannot_work_is_given_up_at_once(delivery: Delivery) -> None:
    assert failed(claim_one(), error="x" * 600, status=550, now=NOW, is_permanent=True)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.last_status) == (DeliveryState.FAILED, 1, 550)
    assert len(delivery.last_error) == 500


def test_a_recipient_can_ask_for_a_longer_wait_and_not_for_a_shorter_one() -> None:
    assert retry_delay_after(1, timedelta(minutes=7)) == timedelta(minutes=7)
    assert retry_delay_after(3, SECOND) >= timedelta(minutes=4)
    assert retry_delay_after(1, timedelta(days=400)) <= timedelta(hours=27)


@pytest.mark.usefixtures("delivery")
def test_a_worker_whose_claim_has_run_out_says_nothing_of_a_failure_but_of_a_success(delivery: Delivery) -> None:
    slow = claim_one()
    claim_one(NOW + CLAIM)
    failed(slow, error="Slow.", status=None, now=NOW + CLAIM, is_permanent=True)
    release_claim([slow], until=NOW + timedelta(days=1))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.claimed_until) == (DeliveryState.PENDING, 0, NOW + 2 * CLAIM)
    succeeded(slow, status=250, now=NOW + CLAIM)
    delivery.refresh_from_db()
    assert delivery.state == DeliveryState.SENT


def test_what_was_not_tried_goes_back_without_a_failure(delivery: Delivery) -> None:
    release_claim([claim_one()], until=NOW + SECOND, error="The server is down.")
    delivery.refresh_from_db()
    assert (delivery.attempts, delivery.last_error) == (0, "The server is down.")
    assert claim(channel=Channel.EMAIL, now=NOW, limit=1) == []
    assert claim_one(NOW + SECOND) == delivery


def test_a_whole_channel_is_postponed_except_for_manual_retries(organization: Organization) -> None:
    create_notice(organization, to=["a@acme.example", "b@acme.example"])
    under_way = claim_one()
    postpone(channel=Channel.EMAIL, now=NOW, until=NOW + SECOND, error="Down.")
    pending = Delivery.objects.exclude(pk=under_way.pk).get()
    assert (pending.next_attempt_at, pending.last_error, pending.attempts) == (NOW + SECOND, "Down.", 0)
    under_way.refresh_from_db()
    assert (under_way.next_attempt_at, under_way.last_error) == (NOW, "")


def test_what_was_given_up_is_sent_again_under_its_id(delivery: Delivery, organization: Organization) -> None:
    failed(claim_one(), error="Gone.", status=550, now=NOW, is_permanent=True)
    resend(organization=organization, delivery=delivery, now=NOW + SECOND, actor="owner@acme.example")
    again = claim_one(NOW + SECOND)
    assert (again, again.attempts, again.finished_at) == (delivery, 0, None)
    assert again.message_id == delivery.message_id
    entry = AuditEntry.objects.get(action="delivery.resent")
    assert (entry.actor, entry.subject) == ("owner@acme.example", f"delivery {delivery.pk}")
    assert entry.details == {"was": "failed", "message_id": delivery.message_id}


def test_an_email_that_was_sent_is_sent_again_under_a_new_id(delivery: Delivery, organization: Organization) -> None:
    succeeded(claim_one(), status=250, now=NOW)
    again = resend(organization=organization, delivery=delivery, now=NOW, actor="owner@acme.example")
    assert again.message_id != delivery.message_id
    assert claim_one().message_id == again.message_id


def test_what_is_pending_is_sent_now(delivery: Delivery, organization: Organization) -> None:
    failed(claim_one(), error="Busy.", status=451, now=NOW)
    resend(organization=organization, delivery=delivery, now=NOW, actor="owner@acme.example")
    assert claim_one().message_id == delivery.message_id


def test_a_webhooks_message_keeps_its_id_and_needs_its_webhook(organization: Organization) -> None:
    endpoint = WebhookEndpoint.objects.create(
        organization=organization, url="https://hooks.acme.example", secret="x", created_at=NOW
    )
    delivery = create_notice(organization, to=()).deliveries.get()
    succeeded(delivery, status=200, now=NOW)
    again = resend(organization=organization, delivery=delivery, now=NOW, actor="owner@acme.example")
    assert again.message_id == delivery.message_id
    remove_webhook(organization=organization, webhook=endpoint, actor="owner@acme.example", now=NOW)
    with pytest.raises(ConflictError, match="webhook was removed"):
        resend(organization=organization, delivery=delivery, now=NOW, actor="owner@acme.example")


def test_another_organizations_delivery_is_not_there(delivery: Delivery, other_organization: Organization) -> None:
    with pytest.raises(NotFoundError):
        resend(organization=other_organization, delivery=delivery, now=NOW, actor="owner@globex.example")
