"""`/organizations/{slug}/reports`: the reports that a member gets by email."""

import pytest
import time_machine
from django.core import mail
from rest_framework.test import APIClient

from billing.models import Notice
from billing.notifications.emails import deliver_emails
from billing.notifications.recipients import MAX_PER_HOUR
from billing.notifications.report_subscriptions import MAX_SUBSCRIPTIONS
from organizations.models import AuditEntry, Organization, User
from organizations.types import Role
from tests.conftest import add_member
from tests.usage import NOW

pytestmark = pytest.mark.usefixtures("whole_history")

PATH = "/organizations/acme/reports"
TEAM = {"frequency": "weekly", "scope": "team", "value": " search "}


def client(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


@time_machine.travel(NOW, tick=False)
def test_a_member_subscribes_sends_the_last_report_and_unsubscribes(viewer: User, owner: User) -> None:
    own = client(viewer)
    created = own.post(PATH, TEAM)
    assert (created.status_code, created.json()["value"], created.json()["last_period"]) == (
        201,
        "search",
        "2026-10-26",
    )
    assert own.post(PATH, TEAM).json()["code"] == "already_subscribed"
    assert own.post(PATH, {"frequency": "monthly"}).status_code == 201
    assert [row["scope"] for row in own.get(PATH).json()["results"]] == ["organization", "team"]
    assert client(owner).get(PATH).json()["results"] == []
    item = f"{PATH}/{created.json()['id']}"
    assert [client(owner).post(f"{item}/send").status_code, client(owner).delete(item).status_code] == [404, 404]
    assert own.post(f"{item}/send").status_code == 204
    deliver_emails(now=NOW)
    assert [message.to for message in mail.outbox] == [[viewer.email]]
    for _ in range(MAX_PER_HOUR - 1):
        assert own.post(f"{item}/send").status_code == 204
    assert (own.post(f"{item}/send").status_code, Notice.objects.count()) == (429, MAX_PER_HOUR)
    assert own.delete(item).status_code == 204
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True))[-3:] == [
        "report.subscribed",
        "report.subscribed",
        "report.unsubscribed",
    ]


def test_wrong_values_too_many_and_callers_without_reports_are_refused(
    viewer: User, stranger: User, api: APIClient, operator_api: APIClient, organization: Organization
) -> None:
    own = client(viewer)
    for body in (
        {"frequency": "daily"},
        {"frequency": "weekly", "scope": "team"},
        {"frequency": "weekly", "value": "search"},
        {"frequency": "weekly", "scope": "tag", "value": "x" * 256},
        {"frequency": "weekly", "when": "now"},
    ):
        assert own.post(PATH, body).status_code == 422, body
    for number in range(MAX_SUBSCRIPTIONS):
        assert own.post(PATH, {**TEAM, "value": str(number)}).status_code == 201
    assert own.post(PATH, TEAM).json()["code"] == "too_many_subscriptions"
    for caller in (api, operator_api):
        assert caller.get(PATH).json()["code"] == "members_only"
    assert client(stranger).get(PATH).status_code == 404
    member = add_member(organization, "ada@acme.example", Role.MEMBER)
    assert client(member).post(PATH, TEAM).json()["code"] == "own_usage_only"
