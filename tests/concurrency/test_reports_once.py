"""Workers that write reports at the same time write one for each subscription and period, and each is sent once."""

from datetime import UTC, datetime

import pytest
from django.core import mail

from billing.models import Delivery, Notice
from billing.notifications.emails import deliver_emails
from billing.notifications.report_subscriptions import subscribe
from billing.spend_reports import send_due_reports
from billing.types import ReportFrequency, ReportScope
from organizations.models import Membership, Organization, User
from tests.concurrency.conftest import run_concurrently

MONDAY = datetime(2026, 11, 16, 8, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_each_subscription_gets_one_report_of_a_period(organization: Organization, owner: User, viewer: User) -> None:
    for membership in Membership.objects.filter(organization=organization).with_user():
        for number in range(3):
            subscribe(
                organization=organization,
                membership=membership,
                frequency=ReportFrequency.WEEKLY,
                scope=ReportScope.TEAM,
                value=f"team {number}",
                now=datetime(2026, 11, 10, tzinfo=UTC),
            )
    written: list[int] = []

    def work(role: str) -> None:
        if role == "write":
            written.append(send_due_reports(now=MONDAY))
        else:
            deliver_emails(now=MONDAY)

    run_concurrently(work, ["write", "write", "write", "send", "send"])
    written.append(send_due_reports(now=MONDAY))
    run_concurrently(work, ["send", "send"])
    assert (sum(written), Notice.objects.count(), Delivery.objects.count()) == (6, 6, 6)
    assert sorted(message.to[0] for message in mail.outbox) == [owner.email] * 3 + [viewer.email] * 3
