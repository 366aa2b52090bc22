"""Reports of spend by email: when, to whom, with which amounts, and how they are unsubscribed from."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.core import mail
from django.test import Client
from rest_framework.test import APIClient

from billing.models import Delivery, Notice, ReportSubscription
from billing.notifications.emails import NOT_SUBSCRIBED, deliver_emails
from billing.notifications.report_subscriptions import last_report_period, subscribe, unsubscribe, unsubscribe_url
from billing.rollups.fold import fold
from billing.spend_reports import send_due_reports
from billing.types import DeliveryState, LimitScope, ReportFrequency, ReportScope
from costtrack.calendar import Calendar
from costtrack.clock import HOUR
from costtrack.money import usd
from costtrack.secret_links import mask_path
from organizations.models import Membership, Organization, User
from organizations.services import leave
from organizations.types import Role
from tests.limits import set_limit
from tests.usage import Send

pytestmark = pytest.mark.usefixtures("whole_history")

WEEKLY, MONTHLY = ReportFrequency.WEEKLY, ReportFrequency.MONTHLY
SUBSCRIBED = datetime(2026, 11, 11, 12, tzinfo=UTC)
# Monday, November 16, 2026, in Auckland (UTC+13), 7 AM.
DUE = datetime(2026, 11, 15, 18, tzinfo=UTC)


@pytest.fixture(autouse=True)
def auckland(organization: Organization) -> None:
    organization.time_zone = "Pacific/Auckland"
    organization.save()


def subscribe_to(
    user: User,
    organization: Organization,
    frequency: ReportFrequency = WEEKLY,
    scope: ReportScope = ReportScope.ORGANIZATION,
    value: str = "",
) -> ReportSubscription:
    return subscribe(
        organization=organization,
        membership=Membership.objects.get(organization=organization, user=user),
        frequency=frequency,
        scope=scope,
        value=value,
        now=SUBSCRIBED,
    )


def sent(now: datetime = DUE) -> list[Any]:
    """Deliver what is due, and return the messages."""
    deliver_emails(now=now)
    return list(mail.outbox)


# --- When ------------------------------------------------------------------------------------------------------------


def test_a_report_is_due_at_seven_in_the_organizations_zone_also_when_clocks_change() -> None:
    berlin = Calendar(ZoneInfo("Europe/Berlin"))
    before, after = datetime(2026, 10, 19, 5, tzinfo=UTC), datetime(2026, 10, 26, 6, tzinfo=UTC)
    second = HOUR / 3600
    days = [
        last_report_period(berlin, WEEKLY, now).first_day for now in (before - second, before, after - second, after)
    ]
    assert days == [date(2026, 10, 5), date(2026, 10, 12), date(2026, 10, 12), date(2026, 10, 19)]
    period = last_report_period(berlin, WEEKLY, after)
    assert (period.span.end - period.span.start, period.before.end) == (169 * HOUR, period.span.start)
    first = datetime(2026, 11, 1, 6, tzinfo=UTC)
    months = [last_report_period(berlin, MONTHLY, now).first_day for now in (first - second, first)]
    assert months == [date(2026, 9, 1), date(2026, 10, 1)]
    auckland = Calendar(ZoneInfo("Pacific/Auckland"))
    assert last_report_period(auckland, WEEKLY, DUE - second).first_day == date(2026, 11, 2)
    assert last_report_period(auckland, WEEKLY, DUE).first_day == date(2026, 11, 9)


def test_a_period_is_reported_once_and_the_first_is_the_current_one(owner: User, organization: Organization) -> None:
    subscribe_to(owner, organization)
    subscribe_to(owner, organization, MONTHLY)
    assert [send_due_reports(now=now) for now in (SUBSCRIBED, DUE - HOUR, DUE, DUE, DUE + 24 * HOUR)] == [0, 0, 1, 0, 0]
    assert send_due_reports(now=datetime(2026, 12, 20, tzinfo=UTC)) == 2  # after an interruption, the last ones
    assert [str(day) for day in ReportSubscription.objects.order_by("id").values_list("last_period", flat=True)] == [
        "2026-12-07",
        "2026-11-01",
    ]
    organization.time_zone = "America/Los_Angeles"
    organization.save()
    assert send_due_reports(now=datetime(2026, 12, 20, tzinfo=UTC)) == 0


# --- What ------------------------------------------------------------------------------------------------------------


def test_amounts_are_those_of_explore_for_the_same_days(
    owner: User, organization: Organization, send: Send, api: APIClient
) -> None:
    call = {"model": "gpt-4o", "team": "search", "user_id": "ada", "tags": ["prod"], "input_tokens": 10}
    # The week is from November 8, 11:00 UTC, to November 15, 11:00 UTC.
    send(
        {**call, "cost_usd": "1.000000000001", "occurred_at": "2026-11-08T11:00:00Z"},
        {**call, "cost_usd": "2", "team": "ads", "model": "o3", "occurred_at": "2026-11-15T10:59:59Z"},
        {**call, "cost_usd": "4", "tags": [], "occurred_at": "2026-11-08T10:59:59Z"},
        {**call, "cost_usd": "8", "occurred_at": "2026-11-15T11:00:00Z"},
        {**call, "model": "unknown", "occurred_at": "2026-11-10T00:00:00Z"},
        now=DUE,
    )
    set_limit(organization, "10", scope=LimitScope.TEAM, value="search")
    for scope, value in [(ReportScope.ORGANIZATION, ""), (ReportScope.TEAM, "search"), (ReportScope.TAG, "prod")]:
        subscribe_to(owner, organization, WEEKLY, scope, value)
    assert send_due_reports(now=DUE) == 3
    expected = {"": "3.000000000001", "search": "1.000000000001", "prod": "3.000000000001"}
    with time_machine.travel(DUE, tick=False):
        for notice in Notice.objects.order_by("id"):
            report = notice.data["report"]
            days = {"start_date": report["first_day"], "end_date": report["last_day"]}
            filters = {report["scope"]: report["value"]} if report["value"] else {}
            explored = api.get("/usage/breakdown", {**days, **filters, "group_by": "model"}).json()
            assert notice.data["spend_usd"] == explored["total"]["cost_usd"] == expected[report["value"]]
            assert notice.data["unpriced_events"] == 1
    messages = sent()
    assert [message.subject for message in messages] == [
        "Weekly report: acme",
        "Weekly team report: acme",
        "Weekly tag report: acme",
    ]
    text = messages[0].body
    assert f"{usd(Decimal('3.000000000001'))} for Acme Research, Nov 9 to Nov 15, 2026" in text
    assert "$1.00 less than in the previous week (-25%)." in text
    assert "Top teams\n  ads: $2.00\n  search: $1.00\n" in text
    assert "Top users\n  ada: $3.00\n" in text
    assert re.search(r"of team search: \$13\.00 of \$10\.00, (paused|over the limit)\n", text)
    assert "There is not enough history for a forecast." in text
    assert "1 event, whose cost is not known and not included" in text
    assert "/o/acme/admin/explore/?start_date=2026-11-09&end_date=2026-11-15" in text
    assert "team=search" in messages[1].body
    assert "Tags have no forecast." in messages[2].body
    html = messages[0].alternatives[0][0]
    assert "Top models" in html
    assert "$3.00 for Acme Research" in html


def test_a_team_without_usage_and_a_plan_without_the_period_say_so(owner: User, organization: Organization) -> None:
    subscribe_to(owner, organization, WEEKLY, ReportScope.TEAM, "search")
    subscribe_to(owner, organization, MONTHLY)
    send_due_reports(now=DUE)
    assert "No usage of team search, Nov 9 to Nov 15, 2026" in sent()[0].body
    organization.plan.history_days = 7
    organization.plan.save()
    now = datetime(2026, 12, 10, tzinfo=UTC)
    assert send_due_reports(now=now) == 2
    assert "No report of Acme Research for November 2026" in " ".join(message.body for message in sent(now))
    organization.plan.api_access = False
    organization.plan.save()
    assert send_due_reports(now=datetime(2027, 1, 10, tzinfo=UTC)) == 0


def test_a_tag_with_too_many_events_to_read_has_its_sums_and_says_what_is_missing(
    owner: User, organization: Organization, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = {"model": "gpt-4o", "tags": ["prod"], "cost_usd": "0.25", "occurred_at": "2026-11-11T12:00:00Z"}
    send(call, call, {**call, "tags": ["other"]}, now=DUE)
    fold(now=DUE)
    monkeypatch.setattr("billing.reports.usage.ledger_usage.MAX_EVENTS", 1)
    subscribe_to(owner, organization, WEEKLY, ReportScope.TAG, "prod")
    assert send_due_reports(now=DUE) == 1
    data = Notice.objects.get().data
    assert (data["spend_usd"], data["requests"], data["top"]) == ("0.5", 2, None)
    assert "There are too many events to list teams, models and users." in sent()[0].body


# --- To whom ---------------------------------------------------------------------------------------------------------


def test_who_has_left_or_unsubscribed_between_writing_and_sending_gets_nothing(
    owner: User, viewer: User, organization: Organization
) -> None:
    subscriptions = [subscribe_to(viewer, organization, WEEKLY, scope, value) for scope, value in
                     [(ReportScope.ORGANIZATION, ""), (ReportScope.TEAM, "a"), (ReportScope.TAG, "b")]]  # fmt: skip
    own = subscribe_to(owner, organization)
    membership = Membership.objects.get(organization=organization, user=viewer)
    assert send_due_reports(now=DUE) == 4
    unsubscribe(organization=organization, subscription=subscriptions[0])
    Membership.objects.filter(pk=membership.pk).update(role=Role.MEMBER)
    assert [message.to for message in sent()] == [[owner.email]]
    refused = Delivery.objects.filter(recipient=viewer.email)
    assert {(delivery.state, delivery.last_error) for delivery in refused} == {(DeliveryState.FAILED, NOT_SUBSCRIBED)}

    week_later = DUE + 168 * HOUR
    assert send_due_reports(now=week_later) == 1  # a member who sees only the own usage gets none
    leave(membership=membership)
    assert list(ReportSubscription.objects.values_list("pk", flat=True)) == [own.pk]
    User.objects.filter(pk=owner.pk).update(is_active=False)
    sent(week_later)
    assert len(mail.outbox) == 1


def test_a_report_is_unsubscribed_from_with_one_click_and_without_signing_in(
    owner: User, organization: Organization, client: Client
) -> None:
    subscription = subscribe_to(owner, organization)
    send_due_reports(now=DUE)
    [message] = sent()
    [url] = re.findall(r"<(https?://\S+)>", message.extra_headers["List-Unsubscribe"])
    assert message.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert url in message.body
    path = unsubscribe_url(organization.pk, subscription.pk)
    assert url.endswith(path)
    assert path.rpartition("/")[2] not in mask_path(path)
    strict = Client(enforce_csrf_checks=True)
    assert "Unsubscribe" in strict.get(path).content.decode()
    assert strict.head(path).status_code == 200
    assert ReportSubscription.objects.exists()
    for _ in range(2):
        response = strict.post(path, {"List-Unsubscribe": "One-Click"})
        assert (response.status_code, "You are unsubscribed" in response.content.decode()) == (200, True)
    assert not ReportSubscription.objects.exists()
    assert client.post(f"{path}x").status_code == 404
    assert client.get(path.replace("/unsubscribe/", "/unsubscribe/a")).status_code == 404
    assert client.put(path).status_code == 405
