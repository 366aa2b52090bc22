"""What the operators' health page says of emails and webhooks."""

from datetime import timedelta

import pytest

from billing.models import Delivery
from billing.notifications.outbox import notify
from billing.reports import delivery_health
from billing.reports.delivery_health import DeliveryCounts, count_deliveries, delivery_checks
from billing.types import Channel, DeliveryState, NoticeKind
from costtrack.health import registry
from costtrack.health.registry import Check, Link
from organizations.models import Organization, User
from tests.usage import NOW


@pytest.fixture
def delivery(organization: Organization, owner: User) -> Delivery:
    """An email that waits."""
    notify(organization=organization, kind=NoticeKind.TEST, subject="Hello", data={}, now=NOW, to=[owner.email])
    return Delivery.objects.get()


def email_check(minutes: int, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.setattr(delivery_health, "utc_now", lambda: NOW + timedelta(minutes=minutes))
    return {check.name: check for check in delivery_checks()}["deliveries_email"]


@pytest.mark.django_db
def test_nothing_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_deliveries(channel=Channel.EMAIL, now=NOW) == DeliveryCounts(0, None, 0, 0)
    check = email_check(0, monkeypatch)
    assert (check.ok, check.state, check.details) == (True, "current", {"Pending": "0"})


def test_what_no_worker_sends_is_late_after_five_minutes(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    assert email_check(5, monkeypatch).ok
    check = email_check(6, monkeypatch)
    assert (check.ok, check.state, check.details) == (False, "late", {"Pending": "1"})
    assert "COSTTRACK_EMAIL_URL" in check.advice
    assert count_deliveries(channel=Channel.WEBHOOK, now=NOW).pending == 0


def test_what_is_being_sent_or_put_off_is_not_late(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    Delivery.objects.update(claimed_until=NOW + timedelta(minutes=10))
    assert email_check(6, monkeypatch).ok
    Delivery.objects.update(claimed_until=None, attempts=3, next_attempt_at=NOW + timedelta(hours=1))
    check = email_check(6, monkeypatch)
    assert check.ok
    assert check.details == {"Pending": "1", "Retrying": "1"}


def test_what_failed_permanently_is_reported_for_a_day(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    Delivery.objects.update(state=DeliveryState.FAILED, finished_at=NOW)
    assert email_check(1, monkeypatch).details == {"Pending": "0", "Failed in the last day": "1"}
    assert email_check(24 * 60, monkeypatch).details == {"Pending": "0"}


def test_the_page_links_to_deliveries_that_were_given_up(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    Delivery.objects.update(state=DeliveryState.FAILED, finished_at=NOW)
    check = email_check(1, monkeypatch)
    assert check.ok
    assert "resend them" in check.advice
    assert check.links == (Link("acme (1)", "/o/acme/admin/billing/delivery/?state=failed"),)


@pytest.mark.django_db
def test_the_health_page_has_it() -> None:
    assert {"deliveries_email", "deliveries_webhook"} <= {check.name for check in registry.checks()}
